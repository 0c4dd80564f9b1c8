"""Independently recurrent neural networks (IndRNN): layers, networks, and the papers' experiments."""

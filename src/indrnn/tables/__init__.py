"""conf/table and records -> verdicts, md, csv, tex, png. No network is known here, and torch is not needed."""

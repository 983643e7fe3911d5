"""What a sweep found, written down: a table, figures, what each step bought, and what failed and why."""

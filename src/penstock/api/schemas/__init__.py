"""Bodies of requests and answers that more than one router uses, or that describe one noun at length."""

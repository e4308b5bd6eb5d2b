"""One run as a story, and what it needs on the way."""

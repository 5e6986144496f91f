"""The playground: its pages are served from this process, to requests and to a real browser."""

"""Start processes, share work, stop and restart; independent of what they compute."""

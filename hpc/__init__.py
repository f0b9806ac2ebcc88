"""How processes start, meet, share work, stop, restart and leave a record; independent of what they compute."""

//! Logs for the person on call: one line per event that matters, human on a terminal, JSON otherwise.

package attack

// lines are those of Linux.
func lines() []Line { return linuxLines() }

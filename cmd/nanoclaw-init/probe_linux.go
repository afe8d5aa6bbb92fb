package main

func probeMain() int { return 2 }

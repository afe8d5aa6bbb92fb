package main

import (
	_ "go.mau.fi/whatsmeow"
	_ "go.mau.fi/whatsmeow/store/sqlstore"
	_ "modernc.org/sqlite"
)

func main() {}

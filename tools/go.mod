// The programs that check this repository, apart from the modules that it
// links. "make check" builds them into tools/bin.
module nanoclaw/tools

go 1.26.0

tool honnef.co/go/tools/cmd/staticcheck

require (
	aead.dev/minisign v0.3.0
	github.com/CycloneDX/cyclonedx-go v0.9.2
	github.com/xeipuuv/gojsonschema v1.2.0
	golang.org/x/mod v0.42.0
)

require (
	github.com/BurntSushi/toml v1.4.1-0.20240526193622-a339e1f7089c // indirect
	github.com/xeipuuv/gojsonpointer v0.0.0-20180127040702-4e3ac2762d5f // indirect
	github.com/xeipuuv/gojsonreference v0.0.0-20180127040603-bd5ef7bd5415 // indirect
	golang.org/x/crypto v0.58.0 // indirect
	golang.org/x/exp/typeparams v0.0.0-20231108232855-2478ac86f678 // indirect
	golang.org/x/sync v0.23.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
	golang.org/x/tools v0.51.0 // indirect
	honnef.co/go/tools v0.8.2 // indirect
)

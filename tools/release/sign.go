package main

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"aead.dev/minisign"
)

const (
	sumsName      = "SHA256SUMS"
	signatureName = sumsName + ".minisig"
)

// writeSums lists all files of a folder, in the form of sha256sum.
func writeSums(dir string) error {
	entries, err := os.ReadDir(dir) // by name
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(data), e.Name())
	}
	return os.WriteFile(filepath.Join(dir, sumsName), []byte(b.String()), 0o644)
}

// signer reads the key that signs, and gives its public half, and what signs the list.
// The key is kept apart from everything that is published.
func signer(source, out, version string) (public string, sign func([]byte) error, err error) {
	file := os.Getenv("NANOCLAW_RELEASE_KEY")
	if file == "" {
		return "", nil, errors.New("NANOCLAW_RELEASE_KEY does not name the file of a secret key: make one with minisign -G, or say UNSIGNED=1")
	}
	text, err := readKey(file, source, out)
	if err != nil {
		return "", nil, err
	}
	key, err := decrypt(text)
	if err != nil {
		return "", nil, fmt.Errorf("%s: %w", file, err)
	}
	half, ok := key.Public().(minisign.PublicKey)
	if !ok {
		return "", nil, fmt.Errorf("%s has no public half", file)
	}
	public = half.String()
	if want := os.Getenv("NANOCLAW_RELEASE_PUBLIC"); want != "" && want != public {
		return "", nil, fmt.Errorf("the key in %s is %s, and NANOCLAW_RELEASE_PUBLIC is another", file, public)
	}
	return public, func(sums []byte) error {
		return os.WriteFile(filepath.Join(out, signatureName), signature(key, sums, version), 0o644)
	}, nil
}

// readKey reads the file of the key. One that others can read, or that could be
// committed or published by mistake, is refused.
func readKey(file, source, out string) ([]byte, error) {
	info, err := os.Stat(file)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, fmt.Errorf("%s can be read by others: chmod 600 it", file)
	}
	real, err := filepath.EvalSymlinks(file)
	if err != nil {
		return nil, err
	}
	if real, err = filepath.Abs(real); err != nil {
		return nil, err
	}
	for _, dir := range []string{source, out} {
		if dir, err = filepath.Abs(dir); err != nil {
			return nil, err
		}
		if rel, err := filepath.Rel(dir, real); err == nil && filepath.IsLocal(rel) {
			return nil, fmt.Errorf("%s lies in %s: keep the key elsewhere", file, dir)
		}
	}
	return os.ReadFile(real)
}

func decrypt(text []byte) (minisign.PrivateKey, error) {
	if minisign.IsEncrypted(text) {
		key, err := minisign.DecryptKey(os.Getenv("NANOCLAW_RELEASE_PASSWORD"), text)
		if err != nil {
			err = fmt.Errorf("%w: NANOCLAW_RELEASE_PASSWORD is not its password", err)
		}
		return key, err
	}
	var key minisign.PrivateKey
	err := key.UnmarshalText(text)
	return key, err
}

// signature is that of a list, with its version in the comment that is signed too.
func signature(key minisign.PrivateKey, sums []byte, version string) []byte {
	hashed := minisign.NewReader(strings.NewReader(string(sums)))
	_, _ = io.Copy(io.Discard, hashed) // of a string
	return hashed.SignWithComments(key, "nanoclaw "+version, "signature of the release "+version)
}

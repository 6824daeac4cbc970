package plugins

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// Limits of a download. What is larger or takes longer is no plugin.
const (
	maxPluginFile = 256 << 20
	maxDownload   = 5 * time.Minute
	maxHeaders    = 64 << 10
)

// fetcher downloads plugins. Files whose digest is known are kept under it, so
// that each is downloaded once.
type fetcher struct {
	// dir is the cache; it is made when it is needed.
	dir string
	// secrets reads a Secret of the controller's namespace; nil when there is
	// no way to.
	secrets func(ctx context.Context, name string) (map[string][]byte, error)
	// transport is http.DefaultTransport unless a test has another.
	transport http.RoundTripper
	// size and time are maxPluginFile and maxDownload unless a test has others.
	size int64
	time time.Duration
}

// get puts the entry's file into the folder of its process and returns its path.
// The bytes that are hashed are those that are run: nobody else writes there.
func (f *fetcher) get(ctx context.Context, e *entry, dir string) (string, error) {
	to := filepath.Join(dir, "plugin")
	if e.url == "" {
		return to, pinned(e, to, func(w io.Writer) error { return f.copyFile(w, e.path) })
	}
	if e.unpinned {
		return to, f.download(ctx, e, to)
	}
	kept := filepath.Join(f.dir, hex.EncodeToString(e.sha256))
	err := pinned(e, to, func(w io.Writer) error { return f.copyFile(w, kept) })
	if err == nil {
		return to, nil
	}
	// It is not there, or it has been damaged.
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return "", fmt.Errorf("making the folder for downloads: %w", err)
	}
	if err := f.download(ctx, e, to); err != nil {
		return "", err
	}
	f.keep(to, kept)
	return to, nil
}

// keep puts a verified file into the cache. Without it the next start downloads
// again, which is no reason to fail this one.
func (f *fetcher) keep(file, kept string) {
	from, err := os.Open(file)
	if err != nil {
		return
	}
	defer from.Close()
	partial, err := os.CreateTemp(f.dir, ".partial-")
	if err != nil {
		return
	}
	_, err = io.Copy(partial, from)
	if errors.Join(err, partial.Close()) == nil && os.Rename(partial.Name(), kept) == nil {
		return
	}
	_ = os.Remove(partial.Name())
}

func (f *fetcher) download(ctx context.Context, e *entry, to string) error {
	ctx, cancel := context.WithTimeout(ctx, f.time)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, e.url, nil)
	if err != nil {
		return fmt.Errorf("location: %w", err)
	}
	own, err := f.headers(ctx, e, req)
	if err != nil {
		return err
	}
	client := &http.Client{Transport: f.transport, CheckRedirect: func(next *http.Request, via []*http.Request) error {
		if len(via) >= 10 {
			return errors.New("too many redirects")
		}
		if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
			return errors.New("redirected away from https")
		}
		if next.URL.Host != via[0].URL.Host {
			for _, name := range own {
				next.Header.Del(name) // They are meant for the host the administrator named.
			}
		}
		return nil
	}}
	res, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("downloading it: %w", err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("downloading it from %s: %s", req.URL.Redacted(), res.Status)
	}
	return pinned(e, to, func(w io.Writer) error {
		n, err := io.Copy(w, io.LimitReader(res.Body, f.size+1))
		if err == nil {
			err = ctx.Err() // a server that sees us hang up may end its answer before the connection is closed
		}
		if err != nil {
			return fmt.Errorf("downloading it: %w", err)
		}
		if n > f.size {
			return fmt.Errorf("downloading it: it is larger than %d MiB", f.size>>20)
		}
		return nil
	})
}

// headers adds the keys of the entry's Secrets as headers, and returns their
// names.
func (f *fetcher) headers(ctx context.Context, e *entry, req *http.Request) ([]string, error) {
	var names []string
	for _, secret := range e.headersFrom {
		if f.secrets == nil {
			return nil, fmt.Errorf("headersFrom: Secret %q cannot be read: this host has no access to Secrets", secret)
		}
		data, err := f.secrets(ctx, secret)
		if err != nil {
			return nil, fmt.Errorf("headersFrom: %w", err)
		}
		size := 0
		for name, value := range data {
			if size += len(name) + len(value); size > maxHeaders {
				return nil, fmt.Errorf("headersFrom: Secret %q is larger than %d KiB", secret, maxHeaders>>10)
			}
			req.Header.Set(name, string(value))
			names = append(names, name)
		}
	}
	return names, nil
}

func (f *fetcher) copyFile(w io.Writer, path string) error {
	from, err := os.Open(path)
	if err != nil {
		return err
	}
	defer from.Close()
	_, err = io.Copy(w, from)
	return err
}

// pinned writes a file that can be run, and removes it unless it has the entry's
// digest.
func pinned(e *entry, to string, write func(io.Writer) error) (err error) {
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o700)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(to)
		}
	}()
	sum := sha256.New()
	if err := errors.Join(write(io.MultiWriter(file, sum)), file.Close()); err != nil {
		return err
	}
	if !e.unpinned && string(sum.Sum(nil)) != string(e.sha256) {
		return errDigest
	}
	return nil
}

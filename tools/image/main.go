// Command image writes Sluice's container image as an OCI image layout, without a
// container engine, and checks one:
//
//	image build [-root DIR] [-version V] [-out DIR] [-platform OS/ARCH]
//	image check [-root DIR] [-version V] [-out DIR] [-platform OS/ARCH] [-again]
//
// The layout's index.json names one image index with an image for each platform. Two
// builds of the same source give the same digests, whatever directory they run in.
// deploy/image/Dockerfile says the same for container engines.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

func main() {
	if err := run(context.Background(), os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	if len(args) == 0 || args[0] != "build" && args[0] != "check" {
		return errors.New("usage: image build|check [flags]")
	}
	set := flag.NewFlagSet(args[0], flag.ContinueOnError)
	root := set.String("root", ".", "the source's root")
	version := set.String("version", "dev", "what the controller answers to --version, and the image's label")
	revision := set.String("revision", "", "the source's revision, a label")
	out := set.String("out", "bin/image", "folder of the layout; what is in it is replaced")
	platform := set.String("platform", "", "the only one to build for, for example linux/amd64; empty: all")
	again := set.Bool("again", false, "check: build once more from a copy of the source elsewhere, and compare the digests")
	if err := set.Parse(args[1:]); err != nil {
		return err
	}
	src := source{root: *root, version: *version, revision: *revision, platform: *platform}
	if args[0] == "build" {
		digest, err := build(ctx, src, *out)
		if err == nil {
			fmt.Println(*out, digest)
		}
		return err
	}
	if err := check(ctx, src, *out); err != nil {
		return err
	}
	if *again {
		return compareWithAnother(ctx, src, *out)
	}
	return nil
}

// compareWithAnother builds from a copy of the source in another directory, and fails
// unless the digest is that of the layout in out.
func compareWithAnother(ctx context.Context, src source, out string) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	copied := src
	copied.root = filepath.Join(dir, "elsewhere")
	if err := copySource(ctx, src.root, copied.root); err != nil {
		return err
	}
	second, err := build(ctx, copied, filepath.Join(dir, "image"))
	if err != nil {
		return err
	}
	first, err := digestOf(out)
	if err != nil {
		return err
	}
	if first != second {
		return fmt.Errorf("not reproducible: %s has the digest %s, a build of the same source in another directory %s", out, first, second)
	}
	fmt.Println("reproducible:", first)
	return nil
}

// copySource copies what git tracks, as it lies in the working tree.
func copySource(ctx context.Context, from, to string) error {
	listed, err := exec.CommandContext(ctx, "git", "-C", from, "ls-files", "-z").Output()
	if err != nil {
		return fmt.Errorf("listing the source: %w", err)
	}
	for _, name := range strings.Split(strings.TrimSuffix(string(listed), "\x00"), "\x00") {
		err := copyFile(filepath.Join(from, name), filepath.Join(to, name))
		if err != nil && !errors.Is(err, os.ErrNotExist) { // deleted, not committed yet
			return err
		}
	}
	return nil
}

// copyFile copies a file, or a symbolic link as such: the chart has links to folders.
func copyFile(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if info.Mode()&os.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		return os.Symlink(target, to)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o644)
}

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"debug/buildinfo"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// check compares the layout in out with what deploy/ and the folders of plugins expect
// of an image. The error tells everything that is wrong.
func check(ctx context.Context, src source, out string) error {
	wanted, err := wantedBy(src)
	if err != nil {
		return err
	}
	digest, images, err := imagesIn(out)
	if err != nil {
		return err
	}
	chosen, err := src.wantedPlatforms()
	if err != nil {
		return err
	}
	var wrong []error
	for _, platform := range chosen {
		img, ok := images[platform.String()]
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s: is not in the index", platform))
			continue
		}
		delete(images, platform.String())
		// Digests, sizes and the order of layers agree with each other.
		if err := validate.Image(img); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", platform, err))
			continue
		}
		for _, err := range wanted.problems(ctx, platform, img) {
			wrong = append(wrong, fmt.Errorf("%s: %w", platform, err))
		}
	}
	for other := range images {
		wrong = append(wrong, fmt.Errorf("%s: nobody asked for it", other))
	}
	if err := errors.Join(wrong...); err != nil {
		return fmt.Errorf("%s is not what deploy/ expects:\n%w", out, err)
	}
	fmt.Printf("%s: %d platforms, %d plugins each, %s\n", out, len(chosen), len(wanted.plugins), digest)
	return nil
}

// problems of one image.
func (w *wanted) problems(ctx context.Context, platform v1.Platform, img v1.Image) []error {
	config, err := img.ConfigFile()
	if err != nil {
		return []error{err}
	}
	found, err := filesOf(img)
	if err != nil {
		return []error{err}
	}
	wrong := w.configProblems(platform, config)
	for name, f := range found {
		wrong = append(wrong, w.fileProblems(name, f.Header)...)
	}
	for _, name := range w.executables() {
		f, ok := found[name]
		if !ok {
			wrong = append(wrong, fmt.Errorf("%s: is missing", name))
			continue
		}
		if f.FileInfo().Mode().Perm()&0o111 != 0o111 {
			wrong = append(wrong, fmt.Errorf("%s: user %s may not execute it", name, w.user))
		}
		if err := staticFor(platform, f.content); err != nil {
			wrong = append(wrong, fmt.Errorf("%s: %w", name, err))
		}
	}
	if entry, ok := found[entrypoint]; ok && platform.Architecture == runtime.GOARCH && runtime.GOOS == platform.OS {
		if err := answersVersion(ctx, entry.content, w.version); err != nil {
			wrong = append(wrong, err)
		}
	}
	return wrong
}

func (w *wanted) configProblems(platform v1.Platform, config *v1.ConfigFile) (wrong []error) {
	expect := func(what, is, want string) {
		if is != want {
			wrong = append(wrong, fmt.Errorf("config: %s is %q, not %q", what, is, want))
		}
	}
	expect("platform", config.OS+"/"+config.Architecture, platform.OS+"/"+platform.Architecture)
	expect("User", config.Config.User, w.user)
	expect("Entrypoint", strings.Join(config.Config.Entrypoint, " "), entrypoint)
	expect("Cmd", strings.Join(config.Config.Cmd, " "), "")
	expect("created", config.Created.UTC().String(), epoch.String())
	expect("version", config.Config.Labels["org.opencontainers.image.version"], w.version)
	return wrong
}

// fileProblems: an image holds what is expected and nothing else, so neither a shell
// nor anything that its user could change.
func (w *wanted) fileProblems(name string, h *tar.Header) (wrong []error) {
	mode := h.FileInfo().Mode()
	if h.Typeflag != tar.TypeReg && h.Typeflag != tar.TypeDir {
		wrong = append(wrong, fmt.Errorf("%s: is neither a file nor a folder", name))
	}
	if h.Typeflag == tar.TypeReg && !slices.Contains(w.executables(), name) && !slices.Contains(w.data, name) {
		wrong = append(wrong, fmt.Errorf("%s: nothing needs it", name))
	}
	if h.Uid != 0 || h.Gid != 0 || name != "/tmp" && mode.Perm()&0o022 != 0 || mode&(os.ModeSetuid|os.ModeSetgid) != 0 {
		wrong = append(wrong, fmt.Errorf("%s: owner %d:%d, mode %s; it must be root's, and nobody else's to change", name, h.Uid, h.Gid, mode))
	}
	if !h.ModTime.Equal(epoch) {
		wrong = append(wrong, fmt.Errorf("%s: has the time %s, not %s", name, h.ModTime.UTC(), epoch))
	}
	return wrong
}

// found is one file of an image.
type found struct {
	*tar.Header
	content []byte
}

func filesOf(img v1.Image) (map[string]found, error) {
	flat := mutate.Extract(img)
	defer func() { _ = flat.Close() }()
	files := map[string]found{}
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		content, err := io.ReadAll(r)
		if err != nil {
			return nil, err
		}
		files[path.Join("/", h.Name)] = found{h, content}
	}
}

// staticFor says why a binary is not a static one of ours for the platform.
func staticFor(platform v1.Platform, binary []byte) error {
	parsed, err := elf.NewFile(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	machine := map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}[platform.Architecture]
	if parsed.Machine != machine {
		return fmt.Errorf("is for %s", parsed.Machine)
	}
	for _, p := range parsed.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("is linked dynamically; there is nothing to link with in the image")
		}
	}
	info, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return err
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	for key, want := range map[string]string{"-trimpath": "true", "CGO_ENABLED": "0"} {
		if settings[key] != want {
			return fmt.Errorf("was built with %s=%q, not %q", key, settings[key], want)
		}
	}
	return nil
}

// answersVersion runs the controller, where this machine can.
func answersVersion(ctx context.Context, binary []byte, version string) error {
	dir, err := os.MkdirTemp("", "image-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	run := filepath.Join(dir, "controller")
	if err := os.WriteFile(run, binary, 0o755); err != nil {
		return err
	}
	said, err := exec.CommandContext(ctx, run, "--version").CombinedOutput()
	if answer := strings.TrimSpace(string(said)); err != nil || answer != "sluice "+version {
		return errors.Join(err, fmt.Errorf("%s --version answers %q, not %q", entrypoint, answer, "sluice "+version))
	}
	return nil
}

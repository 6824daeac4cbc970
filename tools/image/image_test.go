package main

import (
	"fmt"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

const controllerSource = `package main

var version = "dev"

func main() { println("sluice", version) }
`

// repository is a small one of our shape: a controller, two plugins, and the real
// manifests.
func repository(t *testing.T) source {
	t.Helper()
	root := t.TempDir()
	files := map[string]string{
		"go.mod":                 "module example.com/small\n\ngo 1.26\n",
		"cmd/controller/main.go": controllerSource,
	}
	for _, manifest := range []string{"deploy/base/deployment.yaml", "deploy/base/config.yaml"} {
		files[manifest] = read(t, "../../"+manifest)
	}
	for _, plugin := range []string{"alb", "web"} {
		files["plugins/"+plugin+"/main.go"] = "package main\n\nfunc main() { println(\"" + plugin + "\") }\n"
	}
	files["deploy/roles/plugins.yaml"] = "metadata:\n  name: sluice-plugin-alb\n"
	for name, text := range files {
		write(t, filepath.Join(root, name), text)
	}
	// As the chart's.
	if err := os.Symlink("../plugins", filepath.Join(root, "deploy/plugins")); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "-q"}, {"add", "."}} {
		if out, err := exec.Command("git", append([]string{"-C", root}, args...)...).CombinedOutput(); err != nil {
			t.Fatal(string(out))
		}
	}
	return source{root: root, version: "v1.2.3", revision: "abc"}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func built(t *testing.T, src source) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "image")
	if _, err := build(t.Context(), src, out); err != nil {
		t.Fatal(err)
	}
	return out
}

// fails with a text that holds each of the words.
func fails(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("it passed")
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q is not in: %v", word, err)
		}
	}
}

func TestSameSourceSameDigest(t *testing.T) {
	src := repository(t)
	out := built(t, src)
	if err := check(t.Context(), src, out); err != nil {
		t.Fatal(err)
	}
	// Whoever builds has other flags, another directory, and has compiled nothing yet.
	t.Setenv("GOCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-gcflags=-N -tags=other")
	t.Setenv("GOAMD64", "v3")
	if err := compareWithAnother(t.Context(), src, out); err != nil {
		t.Fatal(err)
	}
	// The comparison can fail.
	write(t, filepath.Join(src.root, "plugins/web/main.go"), "package main\n\nfunc main() { println(\"changed\") }\n")
	fails(t, compareWithAnother(t.Context(), src, out), "not reproducible")
}

func TestOnlyThePluginThatChangedIsANewLayer(t *testing.T) {
	src := repository(t)
	before := layersOf(t, built(t, src))
	write(t, filepath.Join(src.root, "plugins/web/main.go"), "package main\n\nfunc main() { println(\"changed\") }\n")
	after := layersOf(t, built(t, src))
	fresh := 0
	for digest := range after {
		if !before[digest] {
			fresh++
		}
	}
	if fresh != len(platforms) {
		t.Errorf("%d new layers for one plugin on %d platforms", fresh, len(platforms))
	}
}

func layersOf(t *testing.T, out string) map[v1.Hash]bool {
	t.Helper()
	_, images, err := imagesIn(out)
	if err != nil {
		t.Fatal(err)
	}
	digests := map[v1.Hash]bool{}
	for _, img := range images {
		parts, err := img.Layers()
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			digest, err := part.Digest()
			if err != nil {
				t.Fatal(err)
			}
			digests[digest] = true
		}
	}
	return digests
}

// Whoever needs one platform does not wait for the others.
func TestOnePlatform(t *testing.T) {
	src := repository(t)
	src.platform = "linux/arm64"
	out := built(t, src)
	if err := check(t.Context(), src, out); err != nil {
		t.Fatal(err)
	}
	src.platform = ""
	fails(t, check(t.Context(), src, out), "linux/amd64: is not in the index")
	src.platform = "plan9/amd64"
	_, err := build(t.Context(), src, out)
	fails(t, err, "plan9/amd64", "linux/arm64")
}

// Each image that could not run as deploy/ says, or holds more than it should, is
// told apart.
func TestWhatIsWrongIsTold(t *testing.T) {
	src := repository(t)
	out := built(t, src)
	_, images, err := imagesIn(out)
	if err != nil {
		t.Fatal(err)
	}
	amd, arm := images[platforms[0].String()], images[platforms[1].String()]
	wanted, err := wantedBy(src)
	if err != nil {
		t.Fatal(err)
	}
	binary := func(img v1.Image, name string) []byte {
		files, err := filesOf(img)
		if err != nil {
			t.Fatal(err)
		}
		return files[name].content
	}
	for wrong, img := range map[string]v1.Image{
		`User is "root"`:                           configured(t, amd, func(c *v1.Config) { c.User = "root" }),
		`Entrypoint is "/bin/sh"`:                  configured(t, amd, func(c *v1.Config) { c.Entrypoint = []string{"/bin/sh"} }),
		`Cmd is "--help"`:                          configured(t, amd, func(c *v1.Config) { c.Cmd = []string{"--help"} }),
		"/bin/sh: nothing needs it":                with(t, amd, file{"/bin/sh", 0o555, []byte("#!")}),
		"/plugins/web: owner 0:0, mode -rwxrwxrwx": with(t, amd, file{"/plugins/web", 0o777, binary(amd, "/plugins/web")}),
		"/plugins/web: user 65532:65532 may not":   with(t, amd, file{"/plugins/web", 0o444, binary(amd, "/plugins/web")}),
		"/plugins/web: is for EM_AARCH64":          with(t, amd, file{"/plugins/web", 0o555, binary(arm, "/plugins/web")}),
		"/plugins/web: is missing":                 with(t, amd, file{"/plugins/.wh.web", 0o444, []byte{}}),
		`platform is "linux/arm64"`:                arm,
	} {
		problems := wanted.problems(t.Context(), platforms[0], img)
		if text := fmt.Sprint(problems); !strings.Contains(text, wrong) {
			t.Errorf("%s is not among: %s", wrong, text)
		}
	}
	if problems := wanted.problems(t.Context(), platforms[0], amd); len(problems) > 0 {
		t.Error(problems)
	}
}

func configured(t *testing.T, img v1.Image, change func(*v1.Config)) v1.Image {
	t.Helper()
	now, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	config := now.Config
	change(&config)
	if img, err = mutate.Config(img, config); err != nil {
		t.Fatal(err)
	}
	return img
}

func with(t *testing.T, img v1.Image, f file) v1.Image {
	t.Helper()
	layer, err := layerOf(f)
	if err != nil {
		t.Fatal(err)
	}
	if img, err = mutate.AppendLayers(img, layer); err != nil {
		t.Fatal(err)
	}
	return img
}

// What deploy/ names and the image lacks is found, wherever it is named.
func TestWhatIsMissingIsTold(t *testing.T) {
	src := repository(t)
	out := built(t, src)
	write(t, filepath.Join(src.root, "deploy/roles/plugins.yaml"), "metadata:\n  name: sluice-plugin-unbuilt\n")
	write(t, filepath.Join(src.root, "deploy/base/config.yaml"), "data:\n  stepPlugins: |\n    - {name: a/b, location: \"file:///opt/b\"}\n")
	fails(t, check(t.Context(), src, out), "linux/arm64: /plugins/unbuilt: is missing", "linux/amd64: /opt/b")
	src.version = "v2"
	fails(t, check(t.Context(), src, out), `answers "sluice v1.2.3", not "sluice v2"`)

	single := filepath.Join(t.TempDir(), "single")
	_, images, err := imagesIn(out)
	if err != nil {
		t.Fatal(err)
	}
	index := mutate.AppendManifests(empty.Index, mutate.IndexAddendum{Add: images["linux/amd64"], Descriptor: v1.Descriptor{Platform: &platforms[0]}})
	at, err := layout.Write(single, empty.Index)
	if err != nil {
		t.Fatal(err)
	}
	if err := at.AppendIndex(index); err != nil {
		t.Fatal(err)
	}
	fails(t, check(t.Context(), src, single), "linux/arm64: is not in the index")
}

// A registry takes the layout as it is, and hands it out under the same digest.
func TestRegistriesTakeIt(t *testing.T) {
	src := repository(t)
	out := built(t, src)
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	ref, err := name.ParseReference(strings.TrimPrefix(server.URL, "http://") + "/sluice:" + src.version)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := layout.ImageIndexFromPath(out)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := digestOf(out)
	if err != nil {
		t.Fatal(err)
	}
	index, err := outer.ImageIndex(digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.WriteIndex(ref, index); err != nil {
		t.Fatal(err)
	}
	for _, platform := range platforms {
		pulled, err := remote.Image(ref, remote.WithPlatform(platform))
		if err != nil {
			t.Fatal(err)
		}
		config, err := pulled.ConfigFile()
		if err != nil || config.Architecture != platform.Architecture {
			t.Errorf("%s: %v %v", platform, config, err)
		}
	}
	if got, err := remote.Head(ref); err != nil || got.Digest != digest {
		t.Errorf("%v %v, want %s", got, err, digest)
	}
}

func TestDockerfileSaysTheSame(t *testing.T) {
	text := read(t, "../../deploy/image/Dockerfile")
	for _, line := range []string{
		"COPY --from=build /out/controller " + entrypoint,
		"COPY --from=build /out/plugins " + pluginDir,
		"USER " + user,
		`ENTRYPOINT ["` + entrypoint + `"]`,
	} {
		if !strings.Contains(text, line+"\n") {
			t.Errorf("deploy/image/Dockerfile does not say %s", line)
		}
	}
}

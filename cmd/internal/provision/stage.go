package provision

import (
	"bytes"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"badged/cmd/internal/config"
)

// owners are whom a configuration belongs to: root writes it, the gateway reads it,
// and secrets are the gateway's alone, as it demands.
type owners struct{ shared, secret owner }

// stage writes the configuration into the folder dir, which is empty, and checks
// it there with all its files, the way the daemon does at its start. What is wrong
// comes back as a *config.Error, with the lines of the provisioning file.
func (f *File) stage(d disk, dir string, o owners) (c config.Config, notes []string, err error) {
	path := filepath.Join(dir, configName)
	c, err = config.Parse(bytes.NewReader(f.Config()), path)
	wrong, err := f.problems(err, dir)
	if err != nil {
		return c, nil, err
	}
	if c.Broker.URL == nil { // not even decoded
		return c, nil, f.err(wrong)
	}
	if wrong = append(wrong, f.checkConfig(c, dir)...); len(wrong) > 0 {
		return c, nil, f.err(wrong)
	}
	secret := map[string]bool{}
	for _, n := range c.Files() {
		secret[filepath.Base(n.Path)] = n.Secret
	}
	if err := d.create(path, f.Config(), 0o640, o.shared); err != nil {
		return c, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(f.Files)) {
		as, mode := o.shared, os.FileMode(0o640)
		if secret[name] {
			as, mode = o.secret, 0o600
		}
		if err := d.create(filepath.Join(dir, name), []byte(f.Files[name]), mode, as); err != nil {
			return c, nil, err
		}
	}
	if c, err = config.Load(path); err == nil {
		notes, err = c.Check()
	}
	if wrong, err = f.problems(err, dir); err != nil {
		return c, nil, err
	}
	return c, notes, f.err(wrong)
}

package config

import (
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/tailscale/hujson"
)

// ErrNoGroup says that the file has no group of that name.
var ErrNoGroup = errors.New("there is no such group")

// group gives the pointer of a group that exists. main exists even where the
// file is silent about it.
func (d *Document) group(name string) (string, error) {
	pointer := Pointer("groups", name)
	if name == mainGroup || d.Has(pointer) {
		return pointer, nil
	}
	return "", fmt.Errorf("group %s: %w\nfix: nanoclaw group add %s", quote(name), ErrNoGroup, shellQuote(name))
}

// AddGroup adds a group that is not there yet.
func (d *Document) AddGroup(name string, g Group) error {
	if d.Has(Pointer("groups", name)) {
		return fmt.Errorf("group %s is there already", quote(name))
	}
	return d.Set(Pointer("groups", name), g)
}

// RemoveGroup removes a group from the file. Its folder and its history stay.
func (d *Document) RemoveGroup(name string) error {
	if name == mainGroup {
		return errors.New("main is your own group and cannot be removed")
	}
	pointer, err := d.group(name)
	if err != nil {
		return err
	}
	return d.Remove(pointer)
}

// SetGroupField sets one field of a group, such as "mode" or "trigger".
func (d *Document) SetGroupField(name, key string, value any) error {
	if err := knownGroupField(key); err != nil {
		return err
	}
	pointer, err := d.group(name)
	if err != nil {
		return err
	}
	return d.Set(pointer+Pointer(key), value)
}

// UnsetGroupField removes one field of a group, so that its default holds.
func (d *Document) UnsetGroupField(name, key string) error {
	if err := knownGroupField(key); err != nil {
		return err
	}
	pointer, err := d.group(name)
	if err != nil || !d.Has(pointer+Pointer(key)) {
		return err
	}
	return d.Remove(pointer + Pointer(key))
}

func knownGroupField(key string) error {
	known := keysOf(fieldsOf(reflect.TypeFor[Group]()))
	if !slices.Contains(known, key) {
		return fmt.Errorf("a group has no %s (%s)", quote(key), didYouMean(key, known))
	}
	return nil
}

// AllowHostMode is the owner's whole consent to host mode for one group: the
// global switch, the group's opt-in, and its mode.
func (d *Document) AllowHostMode(name string) error {
	return errors.Join(
		d.Set("/hostMode/enabled", true),
		d.SetGroupField(name, "mode", modeHost),
		d.SetGroupField(name, "hostModeAllowed", true),
	)
}

// AddMount gives a group a folder. A mount of the same path and name is
// changed instead of added a second time.
func (d *Document) AddMount(group string, m Mount) error {
	pointer, err := d.group(group)
	if err != nil {
		return err
	}
	pointer += "/mounts"
	for i, old := range d.mounts(pointer) {
		if old.Path != m.Path || old.Inside() != m.Inside() {
			continue
		}
		if element := fmt.Sprintf("%s/%d/write", pointer, i); m.Write || d.Has(element) {
			return d.Set(element, m.Write)
		}
		return nil
	}
	return d.Append(pointer, m)
}

// RemoveMount takes a folder away from a group, by its name inside.
func (d *Document) RemoveMount(group, inside string) error {
	pointer, err := d.group(group)
	if err != nil {
		return err
	}
	pointer += "/mounts"
	for i, m := range d.mounts(pointer) {
		if m.Inside() == inside {
			return d.Remove(fmt.Sprintf("%s/%d", pointer, i))
		}
	}
	return fmt.Errorf("group %s has no mount %s", group, quote(inside))
}

// mounts reads the list as it is written, variables not replaced but for $${.
func (d *Document) mounts(pointer string) []Mount {
	list := d.tree.Find(pointer)
	if list == nil {
		return nil
	}
	array, _ := list.Value.(*hujson.Array)
	if array == nil {
		return nil
	}
	mounts := make([]Mount, len(array.Elements))
	for i := range array.Elements {
		mounts[i] = Mount{Path: textAt(&array.Elements[i], "/path"), Name: textAt(&array.Elements[i], "/name")}
	}
	return mounts
}

// textAt is the text at pointer, or "".
func textAt(v *hujson.Value, pointer string) string {
	v = v.Find(pointer)
	if v == nil || v.Value.Kind() != '"' {
		return ""
	}
	written := v.Value.(hujson.Literal).String()
	if plain, err := expand(written, nil); err == nil {
		return plain
	}
	return written
}

// AddEgress lets a group reach a host or a preset. Here and in AddChat and
// AddSender, what is there already stays as it is.
func (d *Document) AddEgress(group, entry string) error { return d.addText(group, "egress", entry) }

// AddChat gives a group a chat, as CHANNEL:CHAT.
func (d *Document) AddChat(group, address string) error { return d.addText(group, "chats", address) }

// AddSender lets somebody speak in a group, as CHANNEL:SENDER.
func (d *Document) AddSender(group, sender string) error { return d.addText(group, "senders", sender) }

// RemoveEgress takes a host or a preset away from a group.
func (d *Document) RemoveEgress(group, entry string) error {
	return d.removeText(group, "egress", entry)
}

// RemoveChat takes a chat away from a group.
func (d *Document) RemoveChat(group, address string) error {
	return d.removeText(group, "chats", address)
}

// RemoveSender takes the right to speak away.
func (d *Document) RemoveSender(group, sender string) error {
	return d.removeText(group, "senders", sender)
}

func (d *Document) addText(group, key, text string) error {
	pointer, err := d.group(group)
	if err != nil || d.indexOf(pointer+Pointer(key), text) >= 0 {
		return err
	}
	return d.Append(pointer+Pointer(key), text)
}

func (d *Document) removeText(group, key, text string) error {
	pointer, err := d.group(group)
	if err != nil {
		return err
	}
	i := d.indexOf(pointer+Pointer(key), text)
	if i < 0 {
		return fmt.Errorf("group %s has no %s in its %s", group, quote(text), key)
	}
	return d.Remove(fmt.Sprintf("%s/%d", pointer+Pointer(key), i))
}

// indexOf finds a text in a list, or gives -1.
func (d *Document) indexOf(pointer, text string) int {
	list := d.tree.Find(pointer)
	if list == nil {
		return -1
	}
	array, ok := list.Value.(*hujson.Array)
	if !ok {
		return -1
	}
	return slices.IndexFunc(array.Elements, func(v hujson.Value) bool { return textAt(&v, "") == text })
}

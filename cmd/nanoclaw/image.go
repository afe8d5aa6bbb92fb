package main

import (
	"cmp"
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"nanoclaw/internal/agent"
	"nanoclaw/internal/boundary"
	"nanoclaw/internal/config"
	"nanoclaw/internal/control"
	"nanoclaw/internal/daemon"
)

func (a *app) imageCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "image",
		Short: "Make, list and remove the images of groups in container mode",
		Long: `Make, list and remove the images of groups in container mode, with the container
engine of the configuration. A group's image is groups.NAME.image, else
container.image.`,
		Example: "  nanoclaw image build\n  nanoclaw image list\n  nanoclaw image import ./root --name localhost/mine:latest",
		Args:    cobra.NoArgs,
		RunE:    needVerb,
	}
	cmd.AddCommand(a.imageBuildCmd(), a.imageImportCmd(), a.imageListCmd(), a.imageRemoveCmd())
	return cmd
}

// images gives the engine's images, and the name of the usual one.
func (a *app) images() (*boundary.Images, config.Paths, string, error) {
	p, err := a.paths()
	if err != nil {
		return nil, p, "", err
	}
	c, err := a.loadConfig(p)
	if errors.Is(err, config.ErrNoConfig) {
		def := config.Default()
		c, err = &def, nil
	}
	if err != nil {
		return nil, p, "", err
	}
	images, err := daemon.Images(c, a.getenv("HOME"), a.getenv)
	if err != nil {
		return nil, p, "", &control.Error{Code: control.CodeBoundary, Message: err.Error()}
	}
	return images, p, c.Container.Image, nil
}

func (a *app) imageBuildCmd() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "build",
		Short: "Build the image from the Containerfile beside the configuration",
		Long: `Build the image from the Containerfile in the folder of the configuration. The
first time it is written there; it is yours to change. Sessions that run keep the
image that they have.`,
		Example: "  nanoclaw image build\n  nanoclaw image build --name localhost/with-browser:latest",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			images, paths, usual, err := a.images()
			if err != nil {
				return err
			}
			file, written, err := daemon.Containerfile(paths)
			if err != nil {
				return err
			}
			if written {
				a.say("wrote %s", file)
			}
			name := cmp.Or(name, usual)
			if err := images.Build(cmd.Context(), name, file, map[string]string{"CLAUDE_VERSION": agent.ClaudeVersion}, a.err); err != nil {
				return failed(err)
			}
			return a.made(images, name)
		},
	}
	nameFlag(cmd, &name)
	return cmd
}

func nameFlag(cmd *cobra.Command, name *string) {
	cmd.Flags().StringVar(name, "name", "", "the image's name (default: container.image of the configuration)")
}

// failed is an error of an engine for the owner.
func failed(err error) error {
	return &control.Error{Code: control.CodeFailed, Message: err.Error()}
}

// made tells of an image.
func (a *app) made(images *boundary.Images, name string) error {
	if a.json {
		return a.printJSON(map[string]string{"engine": images.Engine(), "image": name})
	}
	_, err := fmt.Fprintf(a.out, "%s has the image %s\n", images.Engine(), name)
	return err
}

func (a *app) imageImportCmd() *cobra.Command {
	var name string
	cmd := &cobra.Command{
		Use:   "import DIR",
		Short: "Make an image from a folder that is the root of a system",
		Long: `Make an image from a folder that is the root of a system: /usr, /etc and so on, as
debootstrap makes it. No registry is asked. Everything in it becomes root's; what is
neither file, folder nor link is left out.`,
		Example: "  nanoclaw image import ./root",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, _, usual, err := a.images()
			if err != nil {
				return err
			}
			name := cmp.Or(name, usual)
			if err := images.Import(cmd.Context(), name, args[0]); err != nil {
				return failed(err)
			}
			return a.made(images, name)
		},
	}
	nameFlag(cmd, &name)
	return cmd
}

func (a *app) imageListCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the images that were made here",
		Example: "  nanoclaw image list",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			images, _, _, err := a.images()
			if err != nil {
				return err
			}
			list, err := images.List(cmd.Context())
			if err != nil {
				return failed(err)
			}
			if a.json {
				return printList(a, list)
			}
			if len(list) == 0 {
				a.say("%s has no image of ours; nanoclaw image build makes one", images.Engine())
			}
			t := tabwriter.NewWriter(a.out, 0, 0, 2, ' ', 0)
			for _, m := range list {
				fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", m.Name, m.ID, m.Size, m.Created)
			}
			return t.Flush()
		},
	}
}

func (a *app) imageRemoveCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "remove NAME",
		Short:   "Remove an image that was made here",
		Example: "  nanoclaw image remove localhost/nanoclaw-agent:latest",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			images, _, _, err := a.images()
			if err != nil {
				return err
			}
			if err := images.Remove(cmd.Context(), args[0]); err != nil {
				return failed(err)
			}
			return nil
		},
	}
}

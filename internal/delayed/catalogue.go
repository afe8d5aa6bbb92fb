package delayed

import (
	"path"
	"strings"
	"unicode"
)

// Deed is what is done about a place.
type Deed string

// The deeds.
const (
	// Hold: read-only while a session lives, moved away if it is new after it.
	Hold Deed = "hold"
	// Tell: left as it is, and reported if it is new or changed. Instructions for
	// other agents are such: they run nothing, and projects are full of them.
	Tell Deed = "tell"
	// Mark: what makes a folder a git repository. It stays writable, and is moved
	// away if it is new.
	Mark Deed = "mark"
)

// group is some places of one sort. A pattern is the end of a path; each part
// may hold "*".
type group struct {
	what     string
	deed     Deed
	patterns string
}

// catalogue are the places by name. What git reads is found by the shape of its
// folders, see gitNames.
var catalogue = []group{
	{"git settings", Hold, `.gitmodules .gitconfig .config/git`},
	{"git hooks", Hold, `.husky .githooks .git-hooks .pre-commit-config.yaml .pre-commit-hooks.yaml lefthook.y*ml .lefthook.y*ml
		lefthook-local.y*ml .lefthook-local.y*ml .lefthook .lintstagedrc* lint-staged.config.* .overcommit.yml .simple-git-hooks.*`},
	{"shell start-up", Hold, `.bashrc .bash_profile .bash_login .bash_logout .bash_aliases .profile .zshrc .zprofile .zshenv .zlogin
		.zlogout .kshrc .mkshrc .cshrc .tcshrc .login .logout .inputrc .xprofile .xinitrc .xsession .xsessionrc .pam_environment
		.config/fish .config/nushell .config/powershell .config/environment.d .config/autostart .config/systemd .local/bin
		.local/share/applications .launchagents library/launchagents library/launchdaemons`},
	{"environment of a folder", Hold, `.envrc .direnv .direnvrc .config/direnv .tool-versions .asdfrc .default-*-packages .rtx.toml
		mise.toml mise.*.toml .mise.toml .mise.*.toml .mise mise/config*.toml mise/conf.d .config/mise .config/mise.toml .autoenv.zsh`},
	{"editor settings", Hold, `.vscode .vscode-server .vscode-insiders .cursor .windsurf .zed .idea .run .fleet .vs .theia .nova .settings
		.externaltoolbuilders *.code-workspace *.sublime-project *.sublime-workspace .devcontainer .devcontainer.json .gitpod.yml
		.vim .vimrc .gvimrc .exrc .nvimrc .nvim.lua .nexrc .lvimrc .nvim .emacs .emacs.d .dir-locals.el .dir-locals-2.el .helix .kakrc
		.config/nvim .config/code .config/helix .config/zed .config/emacs .config/kak`},
	{"agent settings", Hold, `.claude .claude.json .mcp.json .cursorrules .windsurfrules .codex .gemini .aider.conf.yml .continue .cline
		.clinerules .roo .roomodes .amazonq .opencode opencode.json opencode.jsonc .goosehints .kiro .junie .crush.json crush.json .qwen .nanoclaw`},
	{"CI", Hold, `.github/workflows .github/actions .github/dependabot.y*ml .gitea/workflows .forgejo/workflows .gitlab-ci.y*ml .gitlab .circleci .travis.y*ml
		azure-pipelines*.y*ml .azure-pipelines .azuredevops jenkinsfile jenkinsfile.* bitbucket-pipelines.y*ml .drone.y*ml .drone.star
		.drone.jsonnet .woodpecker .woodpecker.y*ml .buildkite appveyor.y*ml .appveyor.y*ml .cirrus.y*ml .cirrus.star .semaphore .teamcity
		.build.y*ml .builds cloudbuild.y*ml buildspec.y*ml .tekton renovate.json .renovaterc*`},
	{"package manager settings", Hold, `.npmrc .yarnrc .yarnrc.y*ml .yarn/releases .yarn/plugins .pnpmfile.* .bunfig.toml bunfig.toml .cargo/config
		.cargo/config.toml .cargo/env .cargo/bin pip.conf pip.ini .pip .config/pip .pypirc .condarc .gemrc .bundle/config .m2 .mvn
		.gradle/init.gradle* .gradle/init.d .gradle/gradle.properties nuget.config .docker/config.json .config/go/env .terraformrc terraform.rc`},
	{"program settings", Hold, `.curlrc .wgetrc .netrc .ripgreprc .gdbinit .lldbinit .pdbrc .pythonrc .pythonrc.py .pythonstartup .irbrc .pryrc
		.rprofile .renviron .psqlrc .sqliterc .my.cnf .screenrc .tmux.conf .config/tmux .ipython .jupyter .lesskey .ssh`},
	{"sandbox settings", Hold, `.srt-settings.json .sandbox-runtime .fence.json fence.json .firejail .config/firejail .nono`},
	{"instructions for agents", Tell, `claude.md claude.local.md agents.md agents.override.md gemini.md copilot-instructions.md .github/instructions
		.github/prompts .github/chatmodes .github/agents llms.txt`},
	{"git attributes", Tell, `.gitattributes`},
}

// Names are the patterns of what is held, for a boundary that can refuse names: a
// session can then neither change nor make them, and nothing has to be found
// afterwards. Each is the end of a path, in which "*" is any part of one name.
//
// Left out are those in a folder with an ordinary name, such as "library": a
// boundary would have to refuse making that folder. They are found by Compare.
func Names() []string {
	names := []string{".git/commondir", ".git/info/attributes", ".git/rebase-merge/git-rebase-todo", ".git/rebase-apply/git-rebase-todo",
		".git/worktrees/*/gitdir", ".git/worktrees/*/commondir", ".git/worktrees/*/config.worktree"}
	for _, name := range []string{"config", "config.worktree", "hooks"} {
		names = append(names, ".git/"+name, ".git/modules/*/"+name)
	}
	for _, g := range catalogue {
		for name := range strings.FieldsSeq(g.patterns) {
			if above, _ := path.Split(name); g.deed == Hold && (above == "" || name[0] == '.') {
				names = append(names, name)
			}
		}
	}
	return names
}

// index is the catalogue by the last part of its patterns: exact ones, and those
// with "*".
type index struct {
	exact map[string][]pattern
	globs []pattern
}

type pattern struct {
	above string // the parts before the last, "" for none
	last  string
	group *group
	// head and tail are what is before the first and after the last "*".
	head, tail string
}

var byName = newIndex()

func newIndex() index {
	x := index{exact: map[string][]pattern{}}
	for i := range catalogue {
		for text := range strings.FieldsSeq(catalogue[i].patterns) {
			above, last := path.Split(text)
			p := pattern{above: strings.TrimSuffix(above, "/"), last: last, group: &catalogue[i]}
			if i := strings.Index(last, "*"); i >= 0 {
				p.head, p.tail = last[:i], last[strings.LastIndex(last, "*")+1:]
				x.globs = append(x.globs, p)
			} else {
				x.exact[last] = append(x.exact[last], p)
			}
		}
	}
	return x
}

// find gives the group of a name in a folder, nil for none. Both are folded.
func (x index) find(folder, name string) *group {
	fits := func(p pattern) bool {
		return p.above == "" || folder == p.above || strings.HasSuffix(folder, "/"+p.above)
	}
	for _, p := range x.exact[name] {
		if fits(p) {
			return p.group
		}
	}
	for _, p := range x.globs {
		// Nearly all names fail here, and most of a scan's time would go into Match.
		if !strings.HasPrefix(name, p.head) || !strings.HasSuffix(name, p.tail) {
			continue
		}
		if ok, _ := path.Match(p.last, name); ok && fits(p) {
			return p.group
		}
	}
	return nil
}

// state is where in a tree a folder lies, as far as it matters for what is in it.
type state int

const (
	plain   state = iota
	vendor        // in node_modules, whose code runs anyway: only git's own is looked for
	gitDir        // a folder that git takes for a repository
	gitInfo       // its info
	gitStep       // the state of a rebase
	gitMany       // modules and worktrees: repositories at any depth
	gitPart       // anything else in a repository
)

// gitNames are what git obeys in a repository (gitrepository-layout(5)).
var gitNames = map[string]string{
	"config": "git settings", "config.worktree": "git settings", "hooks": "git hooks",
	"commondir": "git pointer", "gitdir": "git pointer",
}

// step judges a name in a folder: as a place, or as a folder on the way to more.
// Both are folded.
func (st state) step(folder, name string, dir bool) (what string, deed Deed, next state) {
	switch st {
	case plain, vendor:
		if name == ".git" && dir {
			return "", "", gitDir
		}
		if name == ".git" {
			return "git pointer", Hold, st
		}
		if name == "node_modules" {
			st = vendor
		}
		if g := byName.find(folder, name); g != nil && st == plain {
			return g.what, g.deed, st
		}
		return "", "", st
	case gitDir:
		switch name {
		case "info":
			return "", "", gitInfo
		case "modules", "worktrees":
			return "", "", gitMany
		case "rebase-merge", "rebase-apply":
			return "", "", gitStep
		}
		return gitNames[name], Hold, gitPart
	case gitInfo:
		if name == "attributes" {
			return "git settings", Hold, gitPart
		}
	case gitStep:
		if name == "git-rebase-todo" {
			return "commands of a rebase", Hold, gitPart
		}
	case gitMany:
		return "", "", gitMany
	}
	return "", "", gitPart
}

// Name says what a file or folder would be, by its name alone: such as "git
// hooks", and "" for what no list names. p is an absolute path.
func Name(p string) (what string, deed Deed) {
	if what, deed, _ = begin(p); what == "" {
		return "", ""
	}
	return what, deed
}

// begin gives the state of a folder by its absolute path, or the place in which
// it lies.
func begin(p string) (what string, deed Deed, st state) {
	folder := ""
	for part := range strings.SplitSeq(strings.Trim(fold(p), "/"), "/") {
		if what, deed, st = st.step(folder, part, true); what != "" {
			return what, deed, st
		}
		folder += "/" + part
	}
	return "", "", st
}

// fold gives a name as file systems that do not tell capitals apart see it:
// without case, and without the characters that some of them leave out of
// comparisons.
func fold(s string) string {
	ascii := true
	for i := range len(s) {
		ascii = ascii && s[i] < 0x80
	}
	if ascii {
		return strings.ToLower(s)
	}
	return strings.Map(func(r rune) rune {
		if unicode.Is(unicode.Cf, r) {
			return -1
		}
		least := r
		for o := unicode.SimpleFold(r); o != r; o = unicode.SimpleFold(o) {
			least = min(least, o)
		}
		return unicode.ToLower(least)
	}, s)
}

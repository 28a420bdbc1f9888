package process

import (
	"maps"
	"runtime"
	"slices"
	"strings"
)

// dangerous lists the environment variables that make a program load code, run
// a command or read a configuration that its user didn't choose. A * at the end
// matches any text. The list is based on the variables that glibc removes for
// setuid programs (unsecvars.h) and that sudo always removes
// (initial_badenv_table), plus those of newer runtimes and tools.
var dangerous = []string{
	// Dynamic linkers and C libraries.
	"LD_*", "LDR_*", "_RLD*", "LIBPATH", "SHLIB_PATH", "DYLD_*", "GLIBC_TUNABLES", "GCONV_PATH", "GETCONF_DIR",
	"LOCPATH", "NLSPATH", "PATH_LOCALE", "MALLOC_*", "NIS_PATH", "HOSTALIASES", "LOCALDOMAIN", "RES_OPTIONS",
	"RESOLV_HOST_CONF", "TZDIR", "TERMCAP", "TERMINFO", "TERMINFO_DIRS", "TERMPATH", "OPENSSL_CONF",
	"OPENSSL_ENGINES", "OPENSSL_MODULES", "KRB5_CONFIG", "KRB5_KTNAME",
	// Where programs and their configuration are found.
	"PATH", "PATHEXT", "HOME", "SHELL", "TMPDIR", "TMP", "TEMP", "XDG_*", "COMSPEC", "SYSTEMROOT", "WINDIR",
	// Shells.
	"IFS", "ENV", "BASH_*", "BASHOPTS", "SHELLOPTS", "CDPATH", "FPATH", "GLOBIGNORE", "NULLCMD", "READNULLCMD",
	"PROMPT_COMMAND", "PS1", "PS2", "PS4", "ZDOTDIR", "PSMODULEPATH",
	// Language runtimes.
	"PYTHON*", "PERL5*", "PERLLIB", "PERLIO_DEBUG", "RUBYOPT", "RUBYLIB", "GEM_*", "BUNDLE_*", "NODE_OPTIONS",
	"NODE_PATH", "NPM_CONFIG_*", "npm_config_*", "JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS",
	"JAVA_HOME", "CLASSPATH", "DOTNET_*", "CORECLR_*", "COR_*", "COMPlus_*", "LUA_*", "PHPRC",
	"PHP_INI_SCAN_DIR", "R_PROFILE*", "R_ENVIRON*", "ERL_*", "TCLLIBPATH", "GODEBUG", "GOFLAGS", "RUSTC_WRAPPER",
	// Tools that run a command from a variable.
	"GIT_*", "SSH_ASKPASS", "SUDO_ASKPASS", "EDITOR", "VISUAL", "PAGER", "MANPAGER", "BROWSER", "LESSOPEN",
	"LESSCLOSE", "MAKEFLAGS",
}

// Dangerous returns the secrets, in byte order, whose variables change how
// programs load or what they run.
func Dangerous(prefix string, secrets map[string]string) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		if isDangerous(variable(prefix, name), runtime.GOOS == "windows") {
			names = append(names, name)
		}
	}
	return names
}

func isDangerous(variable string, foldCase bool) bool {
	for _, d := range dangerous {
		start, any := strings.CutSuffix(d, "*")
		if len(variable) < len(start) || !any && len(variable) > len(start) {
			continue
		}
		if head := variable[:len(start)]; head == start || foldCase && strings.EqualFold(head, start) {
			return true
		}
	}
	return false
}

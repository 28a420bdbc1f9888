#!/bin/sh
# Runs after an installation or an upgrade: as "postinst configure [VERSION]" by
# dpkg, as "postinst 1" (installation) or "postinst 2" (upgrade) by rpm.
set -e

case "$1" in
configure) [ -z "$2" ] && fresh=yes || fresh=no ;;
1) fresh=yes ;;
2) fresh=no ;;
*) exit 0 ;;
esac

data=/var/lib/fluxkeep
key=/etc/fluxkeep/key

if ! getent group fluxkeep >/dev/null; then
	groupadd --system fluxkeep
fi
if ! getent passwd fluxkeep >/dev/null; then
	useradd --system --gid fluxkeep --home-dir $data --no-create-home --shell /usr/sbin/nologin fluxkeep
fi
if [ ! -d $data ]; then
	install -d -m 0700 -o fluxkeep -g fluxkeep $data
fi

# The server can't write to /etc. A key is made only for data that doesn't exist yet.
if [ ! -e $key ] && [ ! -e $data/keyset.json ]; then
	fluxkeep key create $key >/dev/null
	chown fluxkeep:fluxkeep $key
	chmod 0400 $key
	echo "fluxkeep: created the key $key: keep a copy, without it nobody can read the data"
fi

if [ -d /run/systemd/system ]; then
	systemctl daemon-reload
	if [ $fresh = yes ]; then
		systemctl enable fluxkeep.service
	fi
	# Not if the administrator has disabled it.
	if systemctl is-enabled --quiet fluxkeep.service; then
		systemctl restart fluxkeep.service
	fi
fi
if [ $fresh = yes ]; then
	echo "fluxkeep: settings are in /etc/fluxkeep/fluxkeep.toml; set the server up with:"
	echo "fluxkeep: fluxkeep setup --host http://localhost:8087"
fi

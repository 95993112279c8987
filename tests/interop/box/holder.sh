# shellcheck shell=bash
# First process of the storage host: waits, and reaps orphans. Run by
# tests/package/stage.sh in the overlay, in place of the scenes of that test.
cd /opt/xblade-test || exit
mkdir -p /run/systemd/system /usr/local/sbin /srv/xblade
# Containers use it to prevent services from starting; here they should start.
rm -f /usr/sbin/policy-rc.d
# Receives the service's notifications, as for NotifyAccess=.
python3 - <<'PY' >/run/notified 2>&1 &
import os, socket
listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
listener.bind("/run/notify")
os.chmod("/run/notify", 0o666)
while True:
    print(listener.recv(4096).decode(), flush=True)
PY
touch /run/box-up
while :; do
    sleep 3600 &
    wait $! || true
done

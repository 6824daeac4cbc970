#!/bin/sh
# nginx as ingress-nginx calls it. A reload waits until there are workers: nginx
# writes the file a reload finds it by before it blocks its signals to wait for
# them, so a reload in between is noticed only with the next signal, and nothing
# but the configuration of the start is served until then. The start here takes
# longer than in the image, whose nginx has its modules built in.
set -eu
case "$*" in
*"-s reload"*)
  read -r master </tmp/nginx/nginx.pid
  tries=100
  until grep -qs . "/proc/$master/task/$master/children" || [ $((tries -= 1)) -eq 0 ]; do
    sleep 0.05
  done
  ;;
esac
exec /usr/sbin/nginx "$@"

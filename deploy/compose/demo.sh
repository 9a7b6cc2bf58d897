#!/bin/sh
# Load to look at: most jobs are quick, some are slow, some fail and are tried again, a few die.
set -u

push() { haul job push "$@" --queue demo --tag demo --retention 1h >/dev/null; }
every() { [ $((round % $1)) -eq 0 ]; }
script() { printf '{"script": "%s"}' "$1"; }

round=0
while :; do
  round=$((round + 1))
  push haul.echo --args "{\"round\": $round}"
  push shell.run --args "$(script "sleep 0.$((round % 9 + 1))")"
  # Half of the attempts fail, the last of four seldom does.
  if every 3; then
    push shell.run --args "$(script 'exit $(( $(date +%N | cut -c1-6 | sed s/^0*//) % 2 ))')" \
      --attempts 4 --backoff 'fixed(2s)'
  fi
  if every 7; then push haul.echo --lane critical --delay 5s; fi
  # Dead: of failures, of time, of a task that nobody has.
  if every 20; then push shell.run --args "$(script 'echo no such order >&2; exit 1')" --attempts 2; fi
  if every 25; then push shell.run --args "$(script 'sleep 60')" --timeout 2s --attempts 2; fi
  if every 40; then push nobody.knows; fi
  sleep "${HAUL_DEMO_PAUSE:-0.5}"
done

# Outlives its worker, to end what the worker's death leaves behind.
#
# ARGS    1 what the worker marks its jobs with   2 its directory
# STDIN   a pipe whose other end only the worker holds: its end of file is the worker's end
# STDOUT  the roll: the numbers of the attempts that are running
#
# On a stop in good order the roll is empty, and only the directory is left to remove.
trap '' HUP INT QUIT TERM
read -r _
marks=
for number in $(cat /proc/$$/fd/1 2>/dev/null); do
  marks="$marks -e HAUL_MARK=$1.$number."
done
# The pids of processes that carry one of the marks.
if [ "$(printf 'a\0b' | grep -cF b)" = 1 ]; then
  marked() {
    for file in $(grep -lsF $marks /proc/[0-9]*/environ); do
      pid=${file#/proc/}
      echo "${pid%/environ}"
    done
  }
else
  # This grep sees nothing behind the first NUL of a line.
  marked() {
    for file in /proc/[0-9]*/environ; do
      pid=${file#/proc/}
      tr '\0' '\n' 2>/dev/null <"$file" | grep -qF $marks && echo "${pid%/environ}"
    done
  }
fi
round=0
while [ -n "$marks" ] && [ $round -lt 600 ]; do
  pids=$(marked)
  [ -n "$pids" ] || break
  kill -9 $pids 2>/dev/null
  round=$((round + 1))
  # What is killed takes a moment to be gone; what forks meanwhile is met in the next round.
  [ $round -lt 10 ] || sleep 0.1
done
rm -rf "$2"

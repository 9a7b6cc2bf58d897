"""A worker in Python: run for each job, with its arguments on stdin. What it prints is the result.

    haul job pull --queue mail --follow -- python3 worker.py
"""

import json
import os
import sys

RETRY, WRONG_DATA = 75, 65

job = json.load(sys.stdin)
if "to" not in job:
    print(f"job {os.environ['HAUL_JOB_ID']} says not whom to write to", file=sys.stderr)
    sys.exit(WRONG_DATA)  # dead at once: no retry helps
if job.get("busy") and os.environ["HAUL_ATTEMPT"] == "1":
    print("the mail server is busy", file=sys.stderr)
    sys.exit(RETRY)  # waits as the job's backoff says, and runs again
print(json.dumps({"sent": job["to"], "attempt": int(os.environ["HAUL_ATTEMPT"])}))

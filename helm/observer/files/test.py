"""What `helm test` asks a running service: does it live, work on live events, and give metrics."""

import sys
import urllib.error
import urllib.request

WANTED = {"/healthz": "ok", "/readyz": "ok", "/metrics": "observer_build_info{"}
failed = False
for path, wanted in WANTED.items():
    try:
        with urllib.request.urlopen(sys.argv[1] + path, timeout=10) as answer:
            said = answer.read().decode()
    except urllib.error.HTTPError as error:
        said = f"{error.code}: {error.read().decode()}"
    except OSError as error:
        said = str(error)
    well = wanted in said
    failed = failed or not well
    print("ok" if well else "failed", path, "" if well else said[:500].strip())
sys.exit(failed)

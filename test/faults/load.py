"""The clients: build/faults-client, driven by lines, and the verdict on the history it wrote."""

import re
import subprocess
import threading


class Load:
    def __init__(self, client, environment, history, **options):
        words = [word for name, value in options.items() for word in (f"--{name}", str(value))]
        self.client, self.history = client, history
        self.process = subprocess.Popen([client, "load", history, "faults", *words], env=environment,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.lock = threading.Lock()
        self.lost = 0

    def say(self, command, expected):
        """The numbers of the answer, by the word before each."""
        with self.lock:
            try:
                self.process.stdin.write(command + "\n")
                self.process.stdin.flush()
                line = self.process.stdout.readline().strip()
            except BrokenPipeError:
                line = ""
        assert line.startswith(expected), f"the workload answered {line!r} to {command!r}"
        return {word: int(number) for word, number in re.findall(r"(\w+) (\d+)", line)}

    def verify(self, which):
        answer = self.say(f"verify {which}", "verified")
        self.lost = answer["lost"]
        return answer

    def pause(self):
        self.say("pause", "paused")

    def resume(self):
        self.say("resume", "resumed")

    def finish(self):
        answer = self.say("finish", "finished")
        self.process.wait(timeout=60)
        return answer

    def end(self):
        """Without its last word when it has not said it: the history ends with a whole line."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass  # it has ended
        try:
            self.process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def check(self, folder):
        """(violations, undecided, text): keys whose history cannot be explained, those not decided."""
        done = subprocess.run([self.client, "check", self.history, folder], capture_output=True,
                              text=True, check=False)
        match = re.search(r"(\d+) violations, (\d+) undecided", done.stdout)
        assert match and done.returncode in (0, 1), f"faults-client check: {done.stdout}{done.stderr}"
        return int(match[1]), int(match[2]), done.stdout

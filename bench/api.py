"""Jobs over one kept connection: what an answer takes without the start of a client process."""
import http.client
import json
import secrets

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class Api:
    def __init__(self, environment):
        self.url = environment["QUERN_ENDPOINT"].split(",")[0]
        self.host = self.url.split("//")[1]
        self.signer = SigV4Auth(Credentials(environment["QUERN_ACCESS_KEY"], environment["QUERN_SECRET_KEY"]),
                                "s3", "us-east-1")
        self.connection = http.client.HTTPConnection(self.host)

    def call(self, method, path, body=None):
        request = AWSRequest(method, self.url + path, data=body,
                             headers={"host": self.host, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"})
        self.signer.add_auth(request)
        self.connection.request(method, path, body, dict(request.headers))
        reply = self.connection.getresponse()
        text = reply.read()
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {text[:200]}")
        return text

    def run(self, place, *argv):
        """Submits a job and returns its whole output."""
        job = {"id": secrets.token_hex(16), "inputs": [place], "argv": argv}
        name = json.loads(self.call("POST", "/-/api/v1/jobs", json.dumps(job).encode()))["name"]
        return self.call("GET", f"/-/api/v1/jobs/{name}/output")

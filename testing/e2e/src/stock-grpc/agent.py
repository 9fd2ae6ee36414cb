"""An agent on stock gRPC: Python's grpcio and code that protoc generated from proto/, nothing of ours beside it.

It enrols with a join token, attaches on the Link stream, and then obeys commands: one JSON object for each line of
standard input, one for each event on standard output.
"""

import base64
import hashlib
import json
import os
import queue
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.x509.oid import NameOID
import datetime

from causeway.aap.v1 import aap_pb2, aap_pb2_grpc
from causeway.aca.v1 import aca_pb2, aca_pb2_grpc
from causeway.agp.v1 import agp_pb2, agp_pb2_grpc
import health_pb2
import health_pb2_grpc
import reflection_pb2
import reflection_pb2_grpc


def say(event, **facts):
    print(json.dumps({"event": event, **facts}), flush=True)


def pem(certificates):
    return b"".join(
        b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(der) + b"-----END CERTIFICATE-----\n" for der in certificates
    )


def address_of(url):
    return url[len("https://") :]


def key_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def root_of(url, fingerprint, key, certificate):
    """The root that the authority sends at the end of its chain, if it is the one that the token names."""
    with tempfile.NamedTemporaryFile() as key_file, tempfile.NamedTemporaryFile() as certificate_file:
        key_file.write(key_pem(key))
        key_file.flush()
        certificate_file.write(certificate)
        certificate_file.flush()
        shown = subprocess.run(
            ["openssl", "s_client", "-connect", address_of(url), "-showcerts", "-alpn", "h2", "-tls1_3"]
            + ["-key", key_file.name, "-cert", certificate_file.name],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        ).stdout.decode("latin-1")
    blocks = shown.split("-----BEGIN CERTIFICATE-----")[1:]
    chain = [base64.b64decode(block.split("-----END CERTIFICATE-----")[0]) for block in blocks]
    for der in chain:
        if hashlib.sha256(der).hexdigest() == fingerprint:
            return der
    raise SystemExit("the authority does not have the root that the token names")


def request_of(key, spiffe_id, algorithm):
    names = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(spiffe_id)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).add_extension(names, critical=False)
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.DER)


def applicant_certificate(key):
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "applicant")])
    now = datetime.datetime.utcnow()
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )


def enrol(token, spiffe_id):
    parts = json.loads(base64.urlsafe_b64decode(token[len("cwj1.") :] + "=="))
    keys = {
        aca_pb2.KEY_PURPOSE_TLS: ec.generate_private_key(ec.SECP256R1()),
        aca_pb2.KEY_PURPOSE_MLS: ed25519.Ed25519PrivateKey.generate(),
        aca_pb2.KEY_PURPOSE_RECORD: ed25519.Ed25519PrivateKey.generate(),
    }
    tls_key = keys[aca_pb2.KEY_PURPOSE_TLS]
    applicant = applicant_certificate(tls_key)
    root = root_of(parts["u"], parts["f"], tls_key, applicant)
    credentials = grpc.ssl_channel_credentials(pem([root]), key_pem(tls_key), applicant)
    with grpc.secure_channel(address_of(parts["u"]), credentials) as channel:
        authority = aca_pb2_grpc.AuthorityServiceStub(channel)
        requests = [
            aca_pb2.CertificateRequest(
                purpose=purpose,
                csr=request_of(key, spiffe_id, hashes.SHA256() if purpose == aca_pb2.KEY_PURPOSE_TLS else None),
            )
            for purpose, key in keys.items()
        ]
        answer = authority.Enrol(aca_pb2.EnrolRequest(spiffe_id=spiffe_id, requests=requests, token=token), timeout=20)
    chains = {issued.purpose: list(issued.chain) for issued in answer.certificates.certificates}
    return {
        "agent": spiffe_id,
        "root": base64.b64encode(root).decode(),
        "key": key_pem(tls_key).decode(),
        "chain": pem(chains[aca_pb2.KEY_PURPOSE_TLS]).decode(),
        "purposes": sorted(chains),
    }


class Agent:
    def __init__(self, identity, gateway):
        self.identity = identity
        self.gateway = address_of(gateway)
        self.key = serialization.load_pem_private_key(identity["key"].encode(), None)
        self.root = pem([base64.b64decode(identity["root"])])
        credentials = grpc.ssl_channel_credentials(self.root, identity["key"].encode(), identity["chain"].encode())
        self.channel = grpc.secure_channel(self.gateway, credentials)
        self.outgoing = queue.Queue()
        self.call = None

    def server_end_point(self):
        """tls-server-end-point: the hash of the certificate at the other end, verified like every other connection."""
        host, port = self.gateway.rsplit(":", 1)
        context = ssl.create_default_context(cadata=self.root.decode())
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.set_alpn_protocols(["h2"])
        with tempfile.NamedTemporaryFile() as both:
            both.write(self.identity["key"].encode() + self.identity["chain"].encode())
            both.flush()
            context.load_cert_chain(both.name)
        with socket.create_connection((host, int(port)), 10) as raw, context.wrap_socket(raw, server_hostname=host) as tls:
            shown = tls.getpeercert(binary_form=True)
        self.server_key = x509.load_der_x509_certificate(shown).public_key()
        return hashlib.sha256(shown).digest()

    def send(self, **body):
        self.outgoing.put(agp_pb2.Frame(**body))

    def attach(self, instance="python"):
        binding = self.server_end_point()
        self.call = agp_pb2_grpc.AgentGatewayServiceStub(self.channel).Link(iter(self.outgoing.get, None))
        hello = aap_pb2.AttachHello(
            agent_id=self.identity["agent"],
            instance=instance,
            nonce=os.urandom(32),
            features=["agp/1", "mls/1", "topics/1"],
            model=aap_pb2.ATTACHMENT_MODEL_STATEFUL,
            attachment_sequence=time.time_ns() // 1_000_000,
            channel_binding=aap_pb2.CHANNEL_BINDING_TLS_SERVER_END_POINT,
        )
        self.send(attach_hello=hello)
        challenge = self.expect("attach_challenge")
        transcript = self.hash_of(hello.SerializeToString(), challenge.SerializeToString())
        signed = b"causeway attach v1\0" + binding + transcript
        proof = self.key.sign(signed, ec.ECDSA(hashes.SHA256()))
        self.send(attach_proof=aap_pb2.AttachProof(signature=proof))
        lease = self.expect("attach_lease")
        signature = lease.signature
        unsigned = aap_pb2.AttachmentLease()
        unsigned.CopyFrom(lease)
        unsigned.signature = b""
        whole = self.hash_of(hello.SerializeToString(), challenge.SerializeToString(), proof)
        # Throws when the gateway did not sign this lease over this handshake.
        self.server_key.verify(
            signature,
            b"causeway lease v1\0" + binding + whole + unsigned.SerializeToString(),
            ec.ECDSA(hashes.SHA256()),
        )
        self.lease = lease
        say(
            "attached",
            gateway=challenge.gateway_id,
            features=list(lease.features),
            lifetimeMs=lease.lifetime_ms,
            heartbeatMs=lease.heartbeat_interval_ms,
        )
        threading.Thread(target=self.read, daemon=True).start()

    @staticmethod
    def hash_of(*parts):
        return hashlib.sha256(b"".join(struct.pack(">I", len(part)) + part for part in parts)).digest()

    def expect(self, kind):
        frame = next(self.call)
        found = frame.WhichOneof("body")
        if found == kind:
            return getattr(frame, kind)
        error = frame.error.error if found == "error" else None
        say("refused", frame=found, code=error.code if error else "", message=error.message if error else "")
        raise SystemExit(3)

    def read(self):
        try:
            for frame in self.call:
                self.report(frame)
            say("ended", status="OK")
        except grpc.RpcError as error:
            say("ended", status=error.code().name, message=error.details())

    def report(self, frame):
        kind = frame.WhichOneof("body")
        if kind == "message":
            header = frame.message.header
            payload = base64.b64encode(frame.message.payload).decode()
            say("message", source=header.source, target=header.target, kind=header.target_kind, payload=payload)
        elif kind == "heartbeat_ack":
            say("heartbeat_ack", sequence=frame.heartbeat_ack.sequence, lifetimeMs=frame.heartbeat_ack.lifetime_ms)
        elif kind == "subscription_result":
            error = frame.subscription_result.error
            say("subscription_result", request=frame.subscription_result.request, code=error.code, message=error.message)
        elif kind == "control":
            say("control", body=frame.control.WhichOneof("body"), code=frame.control.delivery_report.error.code)
        else:
            say("frame", kind=kind)

    def message(self, target, payload):
        milliseconds = time.time_ns() // 1_000_000
        random = uuid.uuid4().bytes
        identifier = bytearray(milliseconds.to_bytes(6, "big") + random[6:])
        identifier[6] = (identifier[6] & 0x0F) | 0x70
        identifier[8] = (identifier[8] & 0x3F) | 0x80
        header = agp_pb2.RoutingHeader(
            version=1,
            target_kind=agp_pb2.TARGET_KIND_AGENT,
            target=target,
            source=self.identity["agent"],
            message_id=bytes(identifier),
            hop_ttl=16,
            expires_unix_ms=milliseconds + 60_000,
            security_context_id=b"stock",
            traffic_class=agp_pb2.TRAFFIC_CLASS_INTERACTIVE,
            delivery_mode=agp_pb2.DELIVERY_MODE_BEST_EFFORT,
        )
        self.send(message=agp_pb2.Envelope(header=header, payload=base64.b64decode(payload)))


def look_around(agent):
    """What grpcurl would do: health, then the services and the file of one of them."""
    health = health_pb2_grpc.HealthStub(agent.channel)
    status = health.Check(health_pb2.HealthCheckRequest(service="causeway.agp.v1.AgentGatewayService"), timeout=10)
    reflection = reflection_pb2_grpc.ServerReflectionStub(agent.channel)
    questions = [
        reflection_pb2.ServerReflectionRequest(list_services=""),
        reflection_pb2.ServerReflectionRequest(file_containing_symbol="causeway.agp.v1.AgentGatewayService"),
    ]
    listed, described = list(reflection.ServerReflectionInfo(iter(questions), timeout=10))
    try:
        aca_pb2_grpc.AuthorityServiceStub(agent.channel).GetCrl(aca_pb2.GetCrlRequest(), timeout=10)
        unknown = "OK"
    except grpc.RpcError as error:
        unknown = error.code().name
    say(
        "looked",
        health=health_pb2.HealthCheckResponse.ServingStatus.Name(status.status),
        services=[service.name for service in listed.list_services_response.service],
        files=len(described.file_descriptor_response.file_descriptor_proto),
        unknown=unknown,
    )


def discover(agent):
    nonce = os.urandom(16)
    request = aap_pb2.DiscoverRequest(agent_id=agent.identity["agent"], nonce=nonce, required_features=["mls/1"])
    response = aap_pb2_grpc.DiscoveryServiceStub(agent.channel).Discover(request, timeout=10)
    leaf = x509.load_der_x509_certificate(response.signature.chain[0])
    # Throws when the certified gateway did not sign it.
    leaf.public_key().verify(response.signature.value, b"causeway offer v1\0" + response.offer, ec.ECDSA(hashes.SHA256()))
    offer = aap_pb2.GatewayOffer.FromString(response.offer)
    say("offered", gateway=offer.gateway_id, endpoint=offer.endpoint, sameNonce=offer.nonce == nonce)


def main():
    agent = None
    for line in sys.stdin:
        command = json.loads(line)
        what = command.pop("do")
        if what == "enrol":
            identity = enrol(command["token"], command["agent"])
            with open(command["file"], "w", encoding="utf8", opener=lambda p, f: os.open(p, f, 0o600)) as file:
                json.dump(identity, file)
            say("enrolled", purposes=identity["purposes"])
        elif what == "open":
            with open(command["file"], encoding="utf8") as file:
                agent = Agent(json.load(file), command["gateway"])
            say("opened")
        elif what == "look":
            look_around(agent)
        elif what == "discover":
            discover(agent)
        elif what == "attach":
            agent.attach(**command)
        elif what == "heartbeat":
            beat = aap_pb2.Heartbeat(lease_id=agent.lease.lease_id, sequence=command["sequence"])
            agent.send(heartbeat=beat)
        elif what == "subscribe":
            agent.send(subscribe=agp_pb2.Subscribe(request=1, topic=command["topic"]))
        elif what == "message":
            agent.message(command["target"], command["payload"])
        elif what == "end":
            agent.send(session_end=aap_pb2.SessionEnd(lease_id=agent.lease.lease_id, reason="done"))
        else:
            raise SystemExit(f"no such command: {what}")


main()

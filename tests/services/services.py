#!/usr/bin/env python3
"""Real services for the tests, on loopback, in a throwaway directory: Kafka, MariaDB, PostgreSQL, moto (AWS), versitygw (S3),
kinesalite (Kinesis).

    services.py up               start them, if they are not up, print the path of services.env (KEY=VALUE lines), leave them running
    services.py down [ENV_FILE]  stop what `up` started: that run, or every such run of this checkout
    services.py run CMD...       start them, run CMD with those variables, stop them whatever happens; exit as CMD did
    services.py one NAME         start one of them for a test of its own and print its variables as JSON; then each line of standard
                                 input is an order, answered by a line when it is done: `kill`, `stop` (in order), `start` (again, on
                                 the same port and data); ends with standard input

Installed by setup.sh next to this file. $SIDESTREAM_WORK moves the work folder, as it does there.
"""
import base64, contextlib, glob, http.client, json, os, pwd, random, shutil, signal, socket, stat, subprocess, sys
import tempfile, threading, time, uuid
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
WORK = Path(os.environ.get("SIDESTREAM_WORK") or REPO / ".work").resolve()
USER, PASSWORD, DATABASE = "sidestream", "sidestream-pw", "pinterest"
START_DEADLINE = 90  # seconds; a start takes about 5 on an idle machine
STOP_DEADLINE = 15


class Failed(Exception):
    """A message for the person who runs this; no traceback."""


class Interrupted(BaseException):
    def __init__(self, signum):
        self.signum = signum


def say(text):
    print(f"services: {text}", file=sys.stderr, flush=True)


# ---- processes -----------------------------------------------------------------------------------------------------------------


def start_time(pid):
    """When the process started (clock ticks since boot), None once it is gone. With the pid it names one process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def alive(process):
    return process["started"] is not None and start_time(process["pid"]) == process["started"]


def stop_processes(processes):
    """Ends these processes and what they started. Their data goes too, so only PostgreSQL (it frees shared memory) gets an orderly
    stop. Returns the names of those that are still there."""

    def end(signal_of, seconds):
        for process in filter(alive, processes):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process["pid"], signal_of(process))
        deadline = time.monotonic() + seconds
        while any(map(alive, processes)) and time.monotonic() < deadline:
            time.sleep(0.02)

    end(lambda process: process["signal"], STOP_DEADLINE)
    end(lambda process: signal.SIGKILL, 2)
    return [process["name"] for process in processes if alive(process)]


def postgres_can_reach(folder):
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in [folder, *folder.parents])


class Run:
    """One set of services: its directory, its processes, and state.json, from which another process can stop it."""

    def __init__(self, tied):
        # PostgreSQL refuses to run as root, so its own user must be able to get to its data.
        WORK.mkdir(parents=True, exist_ok=True)
        reachable = os.geteuid() != 0 or postgres_can_reach(WORK)
        base, prefix = (WORK, "run.") if reachable else (tempfile.gettempdir(), "sidestream-run.")
        self.tied = tied  # the services end with this process, even if it is killed
        self.processes = []
        self.commands = {}  # of each process: what `spawn` was given
        self.main = None  # of a service: its process, its command, how to tell that it is ready
        self.stopping = False
        self.lock = threading.Lock()
        self.dir = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
        self.dir.chmod(0o711)
        self.env_file = self.dir / "services.env"
        self.save()

    def save(self):
        launcher = {"pid": os.getpid(), "started": start_time(os.getpid())}
        state = {"repo": str(REPO), "tied": self.tied, "launcher": launcher, "processes": self.processes}
        part = self.dir / "state.part"
        part.write_text(json.dumps(state))
        part.replace(self.dir / "state.json")

    def spawn(self, name, command, user=None, env=None, stop_signal=signal.SIGKILL):
        words = {"name": name, "command": command, "user": user, "env": env, "stop_signal": stop_signal}
        prefix = ["setpriv"]
        if self.tied:  # the kernel sends it when the starting thread ends, so `start` below keeps that thread
            prefix += ["--pdeathsig", signal.Signals(stop_signal).name[3:]]
        if user:
            prefix += ["--reuid", user, "--regid", user, "--clear-groups"]
        if len(prefix) > 1:
            command = [*prefix, *command]
        with self.lock, open(self.dir / f"{name}.log", "ab") as log:
            if self.stopping:
                raise Failed("interrupted")
            child = subprocess.Popen(
                [str(word) for word in command], cwd=self.dir, env={**os.environ, **(env or {})}, start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
            self.processes.append({"name": name, "pid": child.pid, "started": start_time(child.pid), "signal": int(stop_signal)})
            self.commands[child.pid] = words
            self.save()
        return child

    def step(self, name, command, **how):
        """Runs one command of a service's start to its end."""
        child = self.spawn(name, command, **how)
        try:
            code = child.wait(START_DEADLINE)
        except subprocess.TimeoutExpired:
            raise self.failure(name, f"`{command[0]}` did not finish in {START_DEADLINE} s")
        if code:
            raise self.failure(name, f"`{command[0]}` ended with {code}")

    def wait_ready(self, name, child, ready):
        self.main = child, self.commands[child.pid], ready
        deadline = time.monotonic() + START_DEADLINE
        while not ready():
            if child.poll() is not None:
                raise self.failure(name, f"ended with {child.returncode} instead of getting ready")
            if time.monotonic() > deadline:
                raise self.failure(name, f"not ready after {START_DEADLINE} s")
            time.sleep(0.05)

    def end_main(self, kill):
        child, words, _ = self.main
        in_order = signal.SIGTERM if words["stop_signal"] == signal.SIGKILL else words["stop_signal"]
        os.killpg(child.pid, signal.SIGKILL if kill else in_order)
        child.wait(STOP_DEADLINE)

    def start_main(self):
        _, words, ready = self.main
        self.wait_ready(words["name"], self.spawn(**words), ready)

    def failure(self, name, what):
        log = self.dir / f"{name}.log"
        lines = log.read_text(errors="replace").splitlines()[-25:] if log.exists() else []
        return Failed("\n".join([f"{name}: {what}; the end of its log:", *(f"    {line}" for line in lines)]))

    def start(self, services):
        """Starts all at once. Returns when every one is ready; the first failure ends the wait."""
        began = time.monotonic()
        ports = free_ports(len(services) + 1)
        news, results = threading.Condition(), {}

        def tell(name, result):
            with news:
                results[name] = result
                news.notify()

        def supervise(name, begin, port):
            try:
                child, variables = begin(self, port, ports[-1])
            except Exception as error:
                return tell(name, error)
            tell(name, (time.monotonic() - began, variables))
            code = child.wait()
            if not self.stopping:
                say(str(self.failure(name, f"ended with {code} in the middle of the run")))

        for (name, begin), port in zip(services.items(), ports):
            threading.Thread(target=supervise, args=(name, begin, port), daemon=True).start()
        shown = set()
        with news:
            while len(shown) < len(services):
                news.wait(0.2)
                for name in results.keys() - shown:
                    if isinstance(results[name], Exception):
                        raise results[name]
                    shown.add(name)
                    say(f"{name} ready after {results[name][0]:.1f} s")
        variables = {key: value for name in services for key, value in results[name][1].items()}
        self.env_file.write_text("".join(f"{key}={value}\n" for key, value in variables.items()))
        return variables

    def stop(self, keep_logs):
        with self.lock:
            self.stopping = True
        left = stop_processes(self.processes)
        if left:
            say(f"could not end: {', '.join(left)}")
        if keep_logs:
            shutil.rmtree(WORK / "logs", ignore_errors=True)
            (WORK / "logs").mkdir()
            for log in self.dir.glob("*.log"):
                shutil.copy(log, WORK / "logs")
            say(f"the services' logs are in {WORK / 'logs'}")
        shutil.rmtree(self.dir, ignore_errors=True)


def earlier_runs():
    """(directory, state) of each run that is still on disk."""
    for path in {*glob.glob(f"{WORK}/run.*/state.json"), *glob.glob(f"{tempfile.gettempdir()}/sidestream-run.*/state.json")}:
        with contextlib.suppress(OSError, ValueError):
            state = json.loads(Path(path).read_text())
            if {"repo", "tied", "launcher", "processes"} <= state.keys():
                yield Path(path).parent, state


def sweep():
    """Removes what a killed run left on disk."""
    for folder, state in earlier_runs():
        if not any(map(alive, [state["launcher"], *state["processes"]])):
            shutil.rmtree(folder, ignore_errors=True)


def free_ports(count):
    """Ports below the range from which the kernel takes them for outgoing connections."""
    held = []
    try:
        while len(held) < count:
            held.append(socket.socket())
            try:
                held[-1].bind(("127.0.0.1", random.randrange(20000, 32000)))
            except OSError:
                held.pop().close()
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()


def answers(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def succeeds(command, env):
    done = subprocess.run(list(map(str, command)), env={**os.environ, **env}, stdin=subprocess.DEVNULL, capture_output=True)
    return done.returncode == 0


# ---- the services --------------------------------------------------------------------------------------------------------------
# Each takes (run, its port, a spare port) and returns its process and its variables once it answers.


def kafka(run, port, controller_port, more=None, classes=None, format=()):
    """`more`: settings beside its own; `classes`: a directory of classes of its own; `format`: more words for the storage tool."""
    data = run.dir / "kafka"
    settings = {
        "process.roles": "broker,controller",
        "node.id": 1,
        "controller.quorum.voters": f"1@127.0.0.1:{controller_port}",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "controller.listener.names": "CONTROLLER",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": data,
        "auto.create.topics.enable": "false",
        # One broker, and groups that form and notice a lost member at once.
        "group.initial.rebalance.delay.ms": 0,
        "group.min.session.timeout.ms": 1000,
        # Dead letters keep the time of their record, which may be years ago.
        "log.retention.ms": -1,
        "offsets.topic.replication.factor": 1,
        "offsets.topic.num.partitions": 4,
        "transaction.state.log.replication.factor": 1,
        "transaction.state.log.min.isr": 1,
        "transaction.state.log.num.partitions": 4,
        "share.coordinator.state.topic.replication.factor": 1,
        "share.coordinator.state.topic.min.isr": 1,
        # The cleaner's default buffer alone is 128 MB of heap.
        "log.cleaner.dedupe.buffer.size": 16 * 1024 * 1024,
    }
    for key, value in (more or {}).items():
        settings[key] = f"{settings[key]},{value}" if key in ("listeners", "advertised.listeners", "listener.security.protocol.map") else value
    config = run.dir / "kafka.properties"
    config.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
    logging = f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}"
    java = ["java", "-XX:+UseSerialGC", "-Djava.net.preferIPv4Stack=true", logging, "-cp", f"{classes}:{WORK}/kafka/libs/*" if classes else WORK / "kafka/libs/*"]
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "a")
    run.step("kafka", [*java, "-Xmx128m", "-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", "format", "-t", cluster, "-c", config, *format])
    child = run.spawn("kafka", [*java, "-Xmx400m", "kafka.Kafka", config])
    log = run.dir / "kafka.log"
    run.wait_ready("kafka", child, lambda: b"Kafka Server started" in log.read_bytes())
    return child, {"SIDESTREAM_TEST_KAFKA": f"127.0.0.1:{port}"}


def mariadb(run, port, _):
    data = run.dir / "mariadb"
    as_user = ["--user=root"] if os.geteuid() == 0 else []
    run.step("mariadb", [
        "mariadb-install-db", "--no-defaults", *as_user, f"--datadir={data}", "--auth-root-authentication-method=normal",
        "--skip-name-resolve", "--skip-test-db"])
    # Run by the server before it listens. Without name lookups a login over TCP matches '%', never 'localhost'.
    init = run.dir / "mariadb-init.sql"
    init.write_text(
        f"create database if not exists {DATABASE} character set utf8mb4;\n"
        f"create user if not exists '{USER}'@'%' identified by '{PASSWORD}';\n"
        f"grant all privileges on *.* to '{USER}'@'%' with grant option;\n")
    server = shutil.which("mariadbd") or "/usr/sbin/mariadbd"
    child = run.spawn("mariadb", [
        server, "--no-defaults", *as_user, f"--datadir={data}", "--socket=mariadb.sock", f"--pid-file={data / 'mariadb.pid'}",
        "--skip-name-resolve", "--bind-address=127.0.0.1", f"--port={port}", f"--init-file={init}",
        "--character-set-server=utf8mb4", "--innodb-flush-log-at-trx-commit=0"])
    client = ["mariadb", "--no-defaults", "--host=127.0.0.1", f"--port={port}", f"--user={USER}", DATABASE, "-e", "select 1"]
    run.wait_ready("mariadb", child, lambda: succeeds(client, {"MYSQL_PWD": PASSWORD}))
    return child, {"SIDESTREAM_TEST_MYSQL": f"mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}"}


def postgres(run, port, _):
    debian = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"), key=lambda path: int(path.split("/")[4]))
    found = shutil.which("initdb") or (debian[-1] if debian else None)
    if not found:
        raise Failed("postgres: no initdb; run setup.sh")
    programs = Path(found).parent
    home = run.dir / "postgres"
    home.mkdir(mode=0o700)
    user = None
    if os.geteuid() == 0:
        user = "postgres"
        shutil.chown(home, user, pwd.getpwnam(user).pw_gid)
    password = run.dir / "postgres.password"
    password.write_text(PASSWORD)
    data = home / "data"
    run.step("postgres", [
        programs / "initdb", "-D", data, "-U", USER, f"--pwfile={password}", "-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8",
        "--no-sync"], user=user)
    options = {
        "listen_addresses": "127.0.0.1", "port": port, "unix_socket_directories": "", "fsync": "off", "synchronous_commit": "off",
        "wal_level": "logical", "max_wal_senders": 8, "max_replication_slots": 8}
    settings = [word for key, value in options.items() for word in ("-c", f"{key}={value}")]
    child = run.spawn("postgres", [programs / "postgres", "-D", data, *settings], user=user, stop_signal=signal.SIGINT)
    login = {"PGPASSWORD": PASSWORD}
    client = ["psql", "--no-psqlrc", "-h", "127.0.0.1", "-p", port, "-U", USER, "-d", "postgres", "-c"]
    run.wait_ready("postgres", child, lambda: succeeds([*client, "select 1"], login))
    run.step("postgres", [*client, f"create database {DATABASE}"], env=login)
    return child, {"SIDESTREAM_TEST_POSTGRES": f"postgres://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}"}


def moto(run, port, _):
    child = run.spawn("moto", [WORK / "venv/bin/moto_server", "-H", "127.0.0.1", "-p", port])
    run.wait_ready("moto", child, lambda: answers(port, "/moto-api/data.json"))
    return child, {"SIDESTREAM_TEST_MOTO": f"http://127.0.0.1:{port}"}


def kinesalite(run, port, _):
    # In memory; its own command line would listen on all interfaces.
    options = {"createStreamMs": 100, "deleteStreamMs": 100, "updateStreamMs": 100, "shardLimit": 1000}
    script = f"require('kinesalite')({json.dumps(options)}).listen({port}, '127.0.0.1', () => console.log('listening'))"
    child = run.spawn("kinesalite", ["node", "-e", script], env={"NODE_PATH": str(WORK / "node/node_modules")})
    log = run.dir / "kinesalite.log"
    run.wait_ready("kinesalite", child, lambda: b"listening" in log.read_bytes())
    return child, {"SIDESTREAM_TEST_KINESALITE": f"http://127.0.0.1:{port}"}


def versitygw(run, port, _):
    root, reader = (USER, "sidestream-secret"), ("reader", "reader-secret")
    for folder in ("s3", "s3-users"):
        (run.dir / folder).mkdir()
    program, url = WORK / "bin/versitygw", f"http://127.0.0.1:{port}"
    child = run.spawn("versitygw", [
        program, "--quiet", "--port", f"127.0.0.1:{port}", "--iam-dir", run.dir / "s3-users", "--health", "/health",
        "posix", run.dir / "s3"], env={"ROOT_ACCESS_KEY": root[0], "ROOT_SECRET_KEY": root[1]})
    run.wait_ready("versitygw", child, lambda: answers(port, "/health"))
    # A plain user may do in root's buckets what a bucket policy gives it: nothing until a test puts one.
    admin = [program, "admin", "-a", root[0], "-s", root[1], "-er", url]
    run.step("versitygw", [*admin, "create-user", "-a", reader[0], "-s", reader[1], "-r", "user"])
    return child, {
        "SIDESTREAM_TEST_S3": url,
        "SIDESTREAM_TEST_S3_ACCESS_KEY": root[0],
        "SIDESTREAM_TEST_S3_SECRET_KEY": root[1],
        "SIDESTREAM_TEST_S3_READONLY_ACCESS_KEY": reader[0],
        "SIDESTREAM_TEST_S3_READONLY_SECRET_KEY": reader[1]}


def secured(run, port, controller_port, *ports):
    """A broker that lets in only whom it knows, by a listener for each way in; `secured/` says what is in its folder."""
    folder, source = run.dir / "secured", HERE / "secured"
    folder.mkdir()
    run.step("certificates", [WORK / "venv/bin/python", source / "certificates.py", folder])
    run.step("javac", ["javac", "-cp", WORK / "kafka/libs/*", "-d", folder, source / "IamValidator.java"])
    (folder / "keys").write_text("AKIATESTTESTTESTTEST test-secret-key\n")
    (folder / "decisions").touch()
    listeners = dict(zip(("IAM", "LATE", "SCRAM", "PLAIN", "MTLS", "ELSEWHERE", "EXPIRED"), ports))
    module = "org.apache.kafka.common.security"
    # With options of its own the module wants a name for the broker, too, which nobody is shown.
    iam = (f'{module}.oauthbearer.OAuthBearerLoginModule required region="us-east-1" keys="{folder}/keys" log="{folder}/decisions" '
           'lifetime.ms="5000" clock.offset.s="%d" unsecuredLoginStringClaim_sub="broker";')
    protocols = {name: "SASL_SSL" if name in ("IAM", "LATE", "SCRAM", "PLAIN") else "SSL" for name in listeners}
    addresses = ",".join(f"{name}://127.0.0.1:{at}" for name, at in listeners.items())
    more = {
        "listeners": addresses, "advertised.listeners": addresses,
        "listener.security.protocol.map": ",".join(f"{name}:{protocol}" for name, protocol in protocols.items()),
        "connections.max.reauth.ms": int(os.environ.get("SIDESTREAM_TEST_REAUTH_MS", "5000")),
        "ssl.keystore.type": "PEM", "ssl.keystore.location": folder / "broker.pem",
        "ssl.truststore.type": "PEM", "ssl.truststore.location": folder / "ca.pem",
        "listener.name.mtls.ssl.client.auth": "required",
        "listener.name.scram.sasl.enabled.mechanisms": "SCRAM-SHA-256,SCRAM-SHA-512",
        "listener.name.scram.scram-sha-256.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": f"{module}.scram.ScramLoginModule required;",
        "listener.name.plain.sasl.enabled.mechanisms": "PLAIN",
        "listener.name.plain.plain.sasl.jaas.config": f'{module}.plain.PlainLoginModule required user_alice="alice-secret";'}
    for name, ahead in (("iam", 0), ("late", 1200)):
        more |= {
            f"listener.name.{name}.sasl.enabled.mechanisms": "OAUTHBEARER",
            f"listener.name.{name}.oauthbearer.sasl.jaas.config": iam % ahead,
            f"listener.name.{name}.oauthbearer.sasl.server.callback.handler.class": "IamValidator"}
    for name in ("elsewhere", "expired"):
        more |= {f"listener.name.{name}.ssl.keystore.type": "PEM", f"listener.name.{name}.ssl.keystore.location": folder / f"{name}.pem"}
    users = [word for way in ("256", "512") for word in ("--add-scram", f"SCRAM-SHA-{way}=[name=bob,password=bob-secret]")]
    child, variables = kafka(run, port, controller_port, more, folder, users)
    return child, variables | {name: f"127.0.0.1:{at}" for name, at in listeners.items()} | {"FOLDER": str(folder)}


def registry(run, port, _):
    """Apicurio, whose data are in memory: what was registered is gone after a stop."""
    jar, = (WORK / "registry").glob("apicurio-registry-app-*-runner.jar")
    child = run.spawn("registry", ["java", "-Xmx300m", "-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={port}", "-jar", jar])
    run.wait_ready("registry", child, lambda: answers(port, "/apis/ccompat/v7/subjects"))
    return child, {"URL": f"http://127.0.0.1:{port}/apis/ccompat/v7"}


SERVICES = {"kafka": kafka, "mariadb": mariadb, "postgres": postgres, "moto": moto, "versitygw": versitygw, "kinesalite": kinesalite}
# Started by a test for itself only, with this many ports.
ON_DEMAND = {"secured": (secured, 9), "registry": (registry, 2)}

# ---- commands ------------------------------------------------------------------------------------------------------------------

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def on_signals(handler):
    for signum in SIGNALS:
        signal.signal(signum, handler)


def interrupt(signum, _frame):
    raise Interrupted(signum)


@contextlib.contextmanager
def started(tied):
    """The services, up. They are stopped on the way out, or only on a failure when they are not tied to this process."""
    installed = ("venv/.installed", "kafka/.installed", "bin/versitygw.version", "node/kinesalite.version", "registry/.installed")
    if not all((WORK / each).exists() for each in installed):
        raise Failed(f"not installed in {WORK}; run tests/services/setup.sh (or `make setup`) first")
    sweep()
    on_signals(interrupt)
    run, good = None, False
    began = time.monotonic()
    try:
        run = Run(tied)
        variables = run.start(SERVICES)
        say(f"all up after {time.monotonic() - began:.1f} s in {run.dir}")
        yield run, variables
        good = True
    finally:
        on_signals(signal.SIG_IGN)  # nothing may cut the stop short
        if run and (tied or not good):
            began = time.monotonic()
            run.stop(keep_logs=not good)
            say(f"all stopped after {time.monotonic() - began:.1f} s")


def on_our_terminal():
    """Whether a Ctrl-C reaches this process and its child alike."""
    try:
        with open("/dev/tty", "rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False


class CommandFailed(BaseException):
    def __init__(self, code):
        self.code = code


def run_command(command):
    if os.environ.get("SIDESTREAM_TEST_KAFKA"):
        say("SIDESTREAM_TEST_KAFKA is set: using the services that are up")
        os.execvp(command[0], command)
    with started(tied=True) as (_, variables):
        try:
            child = subprocess.Popen(command, env={**os.environ, **variables})
        except OSError as error:
            raise Failed(f"{command[0]}: {error.strerror}")

        def forward(signum, _frame):
            if not (signum == signal.SIGINT and on_our_terminal()):
                child.send_signal(signum)

        on_signals(forward)
        code = child.wait()
        if code:
            raise CommandFailed(code if code > 0 else 128 - code)


def up():
    for folder, state in sorted(earlier_runs(), key=lambda run: run[0].stat().st_mtime):
        up_now = {process["name"] for process in filter(alive, state["processes"])}
        ours = not state["tied"] and state["repo"] == str(REPO)
        if ours and up_now >= SERVICES.keys() and (folder / "services.env").exists():
            say(f"up already in {folder}")
            return print(folder / "services.env")
    with started(tied=False) as (run, _):
        print(run.env_file)


def one(name):
    sweep()
    on_signals(interrupt)
    run = Run(tied=True)
    try:
        begin, ports = ON_DEMAND.get(name) or (SERVICES[name], 2)
        _, variables = begin(run, *free_ports(ports))
        print(json.dumps(variables), flush=True)
        for order in sys.stdin:
            match order.strip():
                case "kill":
                    run.end_main(kill=True)
                case "stop":
                    run.end_main(kill=False)
                case "start":
                    run.start_main()
                case unknown:
                    raise Failed(f"`{unknown}` is no order")
            print("done", flush=True)
    finally:
        on_signals(signal.SIG_IGN)
        run.stop(keep_logs=False)


def down(env_file):
    wanted = Path(env_file).resolve().parent if env_file else None
    stopped = 0
    for folder, state in earlier_runs():
        if folder == wanted or (wanted is None and not state["tied"] and state["repo"] == str(REPO)):
            left = stop_processes(state["processes"])
            shutil.rmtree(folder, ignore_errors=True)
            stopped += 1
            say(f"stopped the services of {folder}" + (f", except {', '.join(left)}" if left else ""))
    if not stopped:
        say("nothing to stop")


def main(arguments):
    try:
        match arguments:
            case ["up"]:
                up()
            case ["one", name] if name in SERVICES or name in ON_DEMAND:
                one(name)
            case ["down"] | ["down", _]:
                down(*arguments[1:] or [None])
            case ["run", *command] if command:
                run_command(command)
            case _:
                print(__doc__, file=sys.stderr)
                return 2
    except Failed as error:
        say(str(error))
        return 1
    except CommandFailed as failed:
        return failed.code
    except Interrupted as interrupted:
        return 128 + interrupted.signum
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

import Glibc

/// A statement of the launcher's article "What an app finds", and what shows on a root filesystem whether it holds.
package struct ContractStatement: Sendable {
    /// What is expected of a boot.
    enum Expectation: Sendable {
        case fact(String, String)
        case exitCode(Int32)
    }

    enum Evidence: Sendable {
        /// The files alone.
        case files(@Sendable (RootfsTree) -> CheckOutcome)
        case boots([(SampleBoot, Expectation)])
        /// One boot for each of these programs that the root filesystem has.
        case interpreters([String])
    }

    /// As the article has it, without its back quotes.
    package let text: String
    let evidence: Evidence

    private init(_ text: String, _ evidence: Evidence) {
        self.text = text
        self.evidence = evidence
    }

    private init(_ text: String, _ boot: SampleBoot, _ expectations: Expectation...) {
        self.init(text, .boots(expectations.map { (boot, $0) }))
    }
}

/// Whether a statement holds.
package enum CheckOutcome: Hashable, Sendable {
    case ok
    case failed(expected: String, seen: String)
    /// It says nothing about this root filesystem, for this reason.
    case leftOut(String)
}

extension ContractStatement {
    /// All statements, in the order of the article.
    package static let all = rootFilesystem + files + user + start + environment + signals + exitCodes

    private static let shells = ["/bin/bash", "/usr/bin/bash", "/bin/sh", "/usr/bin/sh"]
    private static let authorities = [
        "/etc/ssl/certs/ca-certificates.crt", "/etc/ssl/cert.pem", "/etc/pki/tls/certs/ca-bundle.crt",
    ]

    private static let rootFilesystem = [
        ContractStatement(
            "/etc/passwd and /etc/group, which everybody may read, have the user and the group vcap, 2000.",
            .files { tree in
                for (file, start) in [("/etc/passwd", ["vcap", "2000", "2000"]), ("/etc/group", ["vcap", "2000"])] {
                    guard let text = tree.text(file) else {
                        return .failed(expected: file, seen: "nothing that everybody may read")
                    }
                    let isThere = text.split(whereSeparator: \.isNewline).contains { line in
                        // The second field is a password.
                        var fields = line.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
                        if fields.count > 1 { fields.remove(at: 1) }
                        return fields.starts(with: start)
                    }
                    if !isThere {
                        return .failed(expected: "\(start.joined(separator: ":")) in \(file)", seen: "no such line")
                    }
                }
                return .ok
            }),
        ContractStatement(
            "A shell is /bin/bash, /usr/bin/bash, /bin/sh or /usr/bin/sh.",
            .files { tree in
                shells.contains(where: tree.isProgram)
                    ? .ok : .failed(expected: "one of \(shells.joined(separator: ", "))", seen: "no such program")
            }),
        ContractStatement(
            "/tmp is a directory that everybody may write to.",
            .files { tree in
                guard let mode = tree.mode("/tmp"), mode & S_IFMT == S_IFDIR else {
                    return .failed(expected: "a directory /tmp", seen: "none")
                }
                return mode & 0o003 == 0o003
                    ? .ok : .failed(expected: "mode 1777", seen: "mode \(String(mode & 0o7777, radix: 8))")
            }),
        ContractStatement(
            "/etc/os-release says which system it is.",
            .files { tree in
                let text = tree.text("/etc/os-release") ?? tree.text("/usr/lib/os-release")
                return text?.contains("NAME=") == true
                    ? .ok : .failed(expected: "a line NAME=…", seen: text == nil ? "no such file" : "no such line")
            }),
        ContractStatement(
            "Certificate authorities, where there are any, are where TLS libraries look: in"
                + " /etc/ssl/certs/ca-certificates.crt, /etc/ssl/cert.pem or /etc/pki/tls/certs/ca-bundle.crt.",
            .files { tree in
                let there = authorities.filter { tree.mode($0) != nil }
                guard !there.isEmpty else { return .leftOut("there are none: TLS libraries trust nobody") }
                return there.contains { tree.text($0)?.contains("-----BEGIN CERTIFICATE-----") == true }
                    ? .ok : .failed(expected: "certificates in \(there[0])", seen: "none that everybody may read")
            }),
        ContractStatement(
            "The interpreters python3, perl, ruby and node run as apps, where they are there.",
            .interpreters(["python3", "perl", "ruby", "node"])),
    ]

    private static let files = [
        ContractStatement(
            "/home/vcap/app is the app, writable, and the working directory.", .web,
            .fact("directory", "/home/vcap/app"),
            .fact("content", "sample"), .fact("written", "app")),
        ContractStatement(
            "/home/vcap/deps/<index> is what buildpacks supplied, and programs in it can be executed.", .web,
            .fact("supplied", "by 0")),
        ContractStatement(
            "/home/vcap/tmp is for temporary files, and is made if it is missing.", .web,
            .fact("temporary", "/home/vcap/tmp")),
    ]

    private static let user = [
        ContractStatement(
            "The app's user and group are 2000, and it finds their name vcap in /etc/passwd.", .web,
            .fact("uid", "2000"),
            .fact("gid", "2000"), .fact("user", "vcap"))
    ]

    private static let start = [
        ContractStatement(
            "Without arguments, START_COMMAND is started if it is set.", .platform, .fact("start", "START_COMMAND")),
        ContractStatement(
            "Without arguments and START_COMMAND, the start command of staging_info.yml is started.", .web,
            .fact("start", "staging_info.yml")),
        ContractStatement(
            "Without any of these, the type web of the app's Procfile is started, or of a launch.yml in deps.",
            .boots([
                (.procfile, .fact("start", "Procfile")), (.launchFile, .fact("start", "launch.yml")),
            ])),
        ContractStatement(
            "One argument that is a process type starts that type's command.", .type, .fact("start", "worker")),
        ContractStatement(
            "One argument that is no process type is a command for the shell.", .commandLine, .fact("start", "a  line")),
        ContractStatement(
            "Several arguments are a program and its arguments, as they are.", .program, .fact("start", "a  program")),
        ContractStatement(
            "A program with its arguments needs no shell where there are no scripts to source.", .withoutShell,
            .exitCode(0)),
        ContractStatement(
            "Before the app starts, a shell sources every file of profile.d that is not hidden, in the order of its name's bytes, then of the"
                + " app's .profile.d, then .profile.", .web, .fact("trace", "000_a 0_b app profile")),
        ContractStatement(
            "The shell becomes the app (exec): no process stands between.", .web, .fact("process", "2"),
            .fact("parent", "1")),
        ContractStatement(
            "entrypoint_prefix of the buildpack's configuration stands before the command.", .prefix,
            .fact("directory", "/home/vcap/app/inner")),
        ContractStatement(
            "launcher DIR COMMAND METADATA does the same for an app in another directory, as tasks need it.", .task,
            .fact("home", "/home/vcap/other/app"), .fact("places", "/home/vcap/other/tmp /home/vcap/other/deps"),
            .fact("trace", "other profile"), .exitCode(3)),
        ContractStatement(
            "shell DIR COMMAND does it without .profile and entrypoint_prefix, for people who look into a container.",
            .shell, .fact("home", "/home/vcap/other/app"),
            .fact("places", "/home/vcap/other/tmp /home/vcap/other/deps"), .fact("trace", "other"), .exitCode(3)),
        ContractStatement(
            "shell without COMMAND is an interactive shell, and without DIR in /home/vcap/app.", .interactiveShell,
            .fact("directory", "/home/vcap/app"), .exitCode(0)),
    ]

    private static let environment = [
        ContractStatement(
            "HOME and PWD are the app's directory, whatever they were.", .platform,
            .fact("home", "/home/vcap/app /home/vcap/app")),
        ContractStatement(
            "TMPDIR and DEPS_DIR are /home/vcap/tmp and /home/vcap/deps, whatever they were.", .platform,
            .fact("places", "/home/vcap/tmp /home/vcap/deps")),
        ContractStatement(
            "USER is vcap, LANG is en_US.UTF-8 and PATH is /usr/local/bin:/usr/bin:/bin, where they are missing.",
            .boots([
                (.web, .fact("defaults", "vcap en_US.UTF-8 /usr/local/bin:/usr/bin:/bin:/home/vcap/deps/0/bin")),
                (.platform, .fact("own", "somebody C /usr/bin:/bin")),
            ])),
        ContractStatement(
            "PORT is 8080 where it is missing; VCAP_APP_HOST, VCAP_APP_PORT, CF_INSTANCE_PORT, CF_INSTANCE_PORTS and"
                + " CF_INSTANCE_ADDR follow it.",
            .boots([
                (
                    .web,
                    .fact("port", #"8080 0.0.0.0 8080 8080 [{"external":8080,"internal":8080}] 0.0.0.0:8080"#)
                ), (.platform, .fact("port", "9000 9000 9000 0.0.0.0:9000")),
            ])),
        ContractStatement(
            "CF_INSTANCE_INDEX and INSTANCE_INDEX are the ordinal of the pod's name, else what the platform set, else 0.",
            .boots([
                (.platform, .fact("index", "3 3")), (.task, .fact("index", "5 5")), (.web, .fact("index", "0 0")),
            ])),
        ContractStatement(
            "CF_INSTANCE_GUID and INSTANCE_GUID are what the platform set, else a new one for each start.",
            .boots([(.platform, .fact("guid", "guid guid")), (.web, .fact("guid", "36 36"))])),
        ContractStatement(
            "VCAP_APPLICATION is completed by host, port, instance_index and instance_id.", .platform,
            .fact(
                "application",
                #"{"host":"0.0.0.0","instance_id":"guid","instance_index":3,"name":"sample","port":9000}"#)),
        ContractStatement(
            "DATABASE_URL is the first database in VCAP_SERVICES, its scheme as frameworks know it.", .platform,
            .fact("database", "mysql2://db.example/1")),
        ContractStatement("VCAP_PLATFORM_OPTIONS is removed.", .platform, .fact("options", "removed")),
        ContractStatement(
            "All other variables are as the container was started with them.", .platform, .fact("others", "64m,a  b")),
    ]

    private static let signals = [
        ContractStatement(
            "As process 1, launch forwards every signal to the app's process group.", .signals,
            .fact("signals", " HUP INT QUIT USR1 USR2 TERM")),
        ContractStatement("As process 1, launch reaps orphans.", .signals, .fact("orphan", "reaped")),
        ContractStatement(
            "As process 1, launch ends with the app, whatever the app leaves behind.", .signals, .exitCode(9)),
        ContractStatement(
            "After a signal that it forwarded has killed the app's first process, the rest of the group may finish.",
            .rest, .fact("rest", "finished"), .exitCode(143)),
        ContractStatement(
            "As another process, launch becomes the app, which then gets signals itself.", .notProcessOne,
            .fact("process", "2"), .exitCode(42)),
    ]

    private static let exitCodes = [
        ContractStatement("The exit code is the app's own.", .web, .exitCode(42)),
        ContractStatement(
            "The exit code is 128 and the signal's number if a signal ended the app.", .killed, .exitCode(137)),
        ContractStatement("The exit code is 126 if the program can't be executed.", .notExecutable, .exitCode(126)),
        ContractStatement("The exit code is 127 if the program is not found.", .notFound, .exitCode(127)),
        ContractStatement(
            "The exit code is 1 if there is no start command or no app.",
            .boots([(.noCommand, .exitCode(1)), (.noApp, .exitCode(1))])),
    ]
}

import JSON

/// A small droplet and how it is started. All that it does on a root filesystem it does by a shell's own commands, so
/// that it finds out what the shell and the launcher do, and not which other programs there are.
package struct SampleBoot: Hashable, Sendable {
    /// What lies below `home`, by path. What lies in a directory `bin` can be executed.
    var files: [String: String] = [:]
    /// The container's entrypoint and arguments.
    let command: [String]
    /// All that the container is started with.
    var environment: [String: String] = [:]
    var isProcessOne = true

    /// How a sample reports what it found: a line for each fact.
    private static let say = "say() { printf '@%s %s\\n' \"$1\" \"$2\"; }\n"

    /// A line for a shell, which may say facts.
    static func line(_ text: String) -> String { say + text }

    static func stagingInfo(_ line: String, prefix: String? = nil) -> String {
        var members: JSONObject = ["start_command": .string(Self.line(line)), "detected_buildpack": "sample"]
        if let prefix { members["config"] = ["entrypoint_prefix": .string(prefix)] }
        return JSONValue.object(members).canonicalText
    }
}

/// What a boot showed.
struct BootReport {
    let end: SandboxEnd
    let output: String

    /// The value that the sample said of a fact last; nil if it said nothing.
    func fact(_ name: String) -> String? {
        let prefix = "@\(name) "
        return output.split(separator: "\n").last { $0.hasPrefix(prefix) }.map { String($0.dropFirst(prefix.count)) }
    }

    /// What there is to see in place of what was expected: the end, and the last line that is no fact.
    var summary: String {
        let last = output.split(separator: "\n").last { !$0.hasPrefix("@") }
        return end.summary + (last.map { ", after '\($0.prefix(300))'" } ?? "")
    }
}

extension SandboxEnd {
    /// In words.
    fileprivate var summary: String {
        switch self {
        case .exited(let code): "exit code \(code)"
        case .outOfMemory: "the system ended it for want of memory"
        case .timedOut: "it had not ended in time"
        case .printedTooMuch: "it printed without end"
        case .cancelled: "it was cancelled"
        }
    }
}

// MARK: - The samples

extension SampleBoot {
    private static let launch = "/lifecycle/launch"
    static let home = "/home/vcap"

    /// An app with everything that a droplet may have, and nothing that the platform may set.
    static let web = SampleBoot(
        files: [
            "staging_info.yml": stagingInfo(
                """
                say start staging_info.yml
                say trace "$TRACE"
                say process $$
                while read -r name value rest; do
                    case $name in PPid:) say parent $value ;; Uid:) say uid $value ;; Gid:) say gid $value ;; esac
                done </proc/self/status
                while IFS=: read -r name password uid gid rest; do
                    [ "$uid:$gid" != 2000:2000 ] || say user "$name"
                done </etc/passwd
                say directory "$(pwd)"
                read -r content <content && say content "$content"
                : >written && [ -f written ] && say written app
                : >"$TMPDIR/written" && [ -f "$TMPDIR/written" ] && say temporary "$TMPDIR"
                supplied
                say defaults "$USER $LANG $PATH"
                say port "$PORT $VCAP_APP_HOST $VCAP_APP_PORT $CF_INSTANCE_PORT $CF_INSTANCE_PORTS $CF_INSTANCE_ADDR"
                say index "$CF_INSTANCE_INDEX $INSTANCE_INDEX"
                say guid "${#CF_INSTANCE_GUID} ${#INSTANCE_GUID}"
                exit 42
                """),
            "app/content": "sample\n", "deps/0/bin/supplied": "printf '@supplied by 0\\n'\n",
            "profile.d/0_b.sh": "export TRACE=\"$TRACE 0_b\"\nOWN_PATH=$PATH\nPATH=$PATH:$DEPS_DIR/0/bin\n",
            "profile.d/000_a": "export TRACE=000_a\n", "profile.d/.hidden": "export TRACE=hidden\n",
            "app/.profile.d/a b.sh": "TRACE=\"$TRACE app\"\n", "app/.profile": "TRACE=\"$TRACE profile\"\n",
        ], command: [launch])

    /// The same app, with all that a platform may set, and what it should not set.
    static let platform = SampleBoot(
        files: [
            "staging_info.yml": stagingInfo("say start staging_info.yml"), "app/content": "", "tmp/x": "",
        ],
        command: [launch],
        environment: [
            "START_COMMAND": line(
                """
                say start START_COMMAND
                say home "$HOME $PWD"
                say places "$TMPDIR $DEPS_DIR"
                say own "$USER $LANG $PATH"
                say port "$PORT $VCAP_APP_PORT $CF_INSTANCE_PORT $CF_INSTANCE_ADDR"
                say index "$CF_INSTANCE_INDEX $INSTANCE_INDEX"
                say guid "$CF_INSTANCE_GUID $INSTANCE_GUID"
                say application "$VCAP_APPLICATION"
                say database "$DATABASE_URL"
                say options "${VCAP_PLATFORM_OPTIONS-removed}"
                say others "$MEMORY_LIMIT,$OWN"
                """),
            "HOME": "/wrong", "PWD": "/wrong", "TMPDIR": "/wrong", "DEPS_DIR": "/wrong", "USER": "somebody",
            "LANG": "C", "PATH": "/usr/bin:/bin", "PORT": "9000", "POD_NAME": "sample-3", "CF_INSTANCE_GUID": "guid",
            "VCAP_APPLICATION": #"{"name":"sample"}"#, "VCAP_PLATFORM_OPTIONS": "{}", "MEMORY_LIMIT": "64m",
            "VCAP_SERVICES": #"{"db":[{"credentials":{"uri":"mysql://db.example/1"}}]}"#, "OWN": "a  b",
        ])

    private static let processes = [
        "app/Procfile": "web: \"printf '@start Procfile\\\\n'\"\nworker: \"printf '@start worker\\\\n'\"\n"
    ]
    static let procfile = SampleBoot(files: processes, command: [launch])
    static let type = SampleBoot(files: processes, command: [launch, "worker"])
    static let commandLine = SampleBoot(files: processes, command: [launch, line("say start \"a  line\"")])
    static let program = SampleBoot(
        files: processes,
        command: [launch, "/lifecycle/launcher", home + "/app", line("say start \"a  program\"")])
    static let launchFile = SampleBoot(
        files: [
            "app/content": "",
            "deps/0/launch.yml": "processes:\n- type: web\n  command: printf '@start launch.yml\\n'\n",
        ], command: [launch])
    static let withoutShell = SampleBoot(files: ["app/content": ""], command: [launch, "--", launch, "--help"])
    /// Its prefix starts the command in a directory of its own, so that one sees who started it.
    static let prefix = SampleBoot(
        files: [
            "staging_info.yml": stagingInfo(
                "say directory \"$(pwd)\"", prefix: "/lifecycle/shell /home/vcap/app/inner"),
            "app/inner/content": "",
        ], command: [launch])

    private static let looking = line(
        """
        say home "$HOME"
        say places "$TMPDIR $DEPS_DIR"
        say trace "$TRACE"
        say index "$CF_INSTANCE_INDEX $INSTANCE_INDEX"
        exit 3
        """)
    private static let other = [
        "other/profile.d/a": "export TRACE=other\n", "other/app/.profile": "TRACE=\"$TRACE profile\"\n",
        "other/staging_info.yml": stagingInfo("say start staged", prefix: "/lifecycle/launch --help"),
    ]
    static let task = SampleBoot(
        files: ["other/profile.d/a": "export TRACE=other\n", "other/app/.profile": "TRACE=\"$TRACE profile\"\n"],
        command: ["/lifecycle/launcher", home + "/other/app", looking, "{}"],
        environment: ["CF_INSTANCE_INDEX": "5"])
    static let shell = SampleBoot(
        files: other, command: ["/lifecycle/shell", home + "/other/app", looking],
        environment: ["CF_INSTANCE_INDEX": "5"], isProcessOne: false)
    /// Without a terminal and without input it ends at once.
    static let interactiveShell = SampleBoot(
        files: ["app/content": "", "profile.d/a": "printf '@directory %s\\n' \"$(pwd)\"\n"],
        command: ["/lifecycle/shell"], isProcessOne: false)

    /// It says the signals that reached it, leaves an orphan that ends and one that does not, and exits.
    static let signals = SampleBoot(
        files: ["app/content": ""],
        command: [
            launch,
            line(
                """
                for signal in HUP INT QUIT USR1 USR2 TERM; do
                    trap "got=$signal" $signal
                    kill -$signal 1
                    until [ "$got" = $signal ]; do :; done
                    all="$all $signal"
                done
                say signals "$all"
                orphan=$( (while :; do :; done) >/dev/null 2>&1 & echo $!)
                kill -KILL $orphan
                while [ -d /proc/$orphan ]; do :; done
                say orphan reaped
                (while :; do :; done) >/dev/null 2>&1 &
                exit 9
                """),
        ])
    static let rest = SampleBoot(
        files: ["app/content": ""],
        command: [
            launch,
            line(
                """
                (trap 'say rest finished; exit 0' TERM; : >"$TMPDIR/ready"; while :; do :; done) &
                until [ -f "$TMPDIR/ready" ]; do :; done
                kill -TERM 1
                wait
                """),
        ])
    static let notProcessOne = SampleBoot(
        files: web.files, command: [launch], isProcessOne: false)
    static let killed = SampleBoot(files: ["app/content": ""], command: [launch, "kill -KILL $$"])
    static let notExecutable = SampleBoot(files: ["app/data": "x"], command: [launch, "--", "./data"])
    static let notFound = SampleBoot(files: ["app/data": "x"], command: [launch, "--", "./nowhere"])
    static let noCommand = SampleBoot(files: ["app/data": "x"], command: [launch])
    static let noApp = SampleBoot(files: ["content": "x"], command: [launch])

    /// An interpreter that prints a fact.
    static func interpreter(_ program: String) -> SampleBoot {
        let name = program.split(separator: "/").last.map(String.init) ?? program
        let (option, text) =
            switch name {
            case "node": ("-e", "console.log('@interpreter node')")
            case "perl": ("-e", #"print '@interpreter perl', "\n""#)
            case "ruby": ("-e", "puts '@interpreter ruby'")
            default: ("-c", "print('@interpreter \(name)')")
            }
        return SampleBoot(files: ["app/content": ""], command: [launch, program, option, text])
    }
}

import JSON
import Testing

/// One rule of the lifecycle: an app and buildpacks, and what has to come of them.
struct LifecycleRule: CustomTestStringConvertible, Sendable {
    let testDescription: String
    var app: [String: String] = [:]
    let buildpacks: [FakeBuildpack]
    /// What stage-build exits with.
    var exitCode: Int32 = 0
    /// The commands by type, of builds that succeed.
    var commands: [String: String]?
    /// The names that the result has of the buildpacks.
    var names: [String]?
    /// `app/trace` in the droplet: what the buildpacks wrote down there.
    var trace: String?
    var logHas: [String] = []
    var logHasNot: [String] = []
    var hasFiles: [String] = []
    var hasNotFiles: [String] = []
    /// Members of the failure in result.json.
    var failure: JSONObject = [:]

    init(_ description: String, app: [String: String] = [:], _ buildpacks: [FakeBuildpack]) {
        testDescription = description
        self.app = app
        self.buildpacks = buildpacks
    }

    func with(_ change: (inout LifecycleRule) -> Void) -> LifecycleRule {
        var copy = self
        change(&copy)
        return copy
    }
}

/// A release that names a web process.
let releases = "echo 'default_process_types: {web: from release}'"
/// Writes down how a script was called, W being the work directory.
let tracing = #"echo "$(basename $0) $(echo "$*" | sed "s,$(dirname $1),W,g")" >> $1/trace"#

extension LifecycleRule {
    static let detecting: [LifecycleRule] = [
        LifecycleRule(
            "the first buildpack that detects wins, and its answer is its name",
            [
                FakeBuildpack("no", ["detect": "exit 1", "compile": "exit 9", "release": "exit 9"]),
                FakeBuildpack("yes", ["detect": "echo Yes 1.2", "compile": tracing, "release": releases]),
                FakeBuildpack("late", ["detect": "exit 0", "compile": "exit 9", "release": "exit 9"]),
            ]
        ).with {
            $0.commands = ["web": "from release"]
            $0.names = ["Yes 1.2"]
            $0.trace = "compile W/app W/cache/final\n"
        },
        LifecycleRule(
            "a buildpack without bin/detect is passed over",
            [
                FakeBuildpack("none", ["compile": "exit 9", "release": "exit 9"]),
                FakeBuildpack("b", ["detect": "echo B", "compile": "exit 0", "release": releases]),
            ]
        ).with { $0.names = ["B"] },
        LifecycleRule(
            "a bin/detect that is not executable is warned of and passed over",
            [
                FakeBuildpack("mode", notExecutable: ["detect"], ["detect": "exit 0", "compile": "exit 9"]),
                FakeBuildpack("b", ["detect": "echo B", "compile": "exit 0", "release": releases]),
            ]
        ).with {
            $0.names = ["B"]
            $0.logHas = ["WARNING: bin/detect of the buildpack mode is not executable"]
        },
        LifecycleRule(
            "a malformed buildpack is passed over while detecting",
            [
                FakeBuildpack("empty", [:]),
                FakeBuildpack("b", ["detect": "echo B", "compile": "exit 0", "release": releases]),
            ]
        ).with {
            $0.names = ["B"]
            $0.logHas = ["the buildpack empty is malformed"]
        },
        LifecycleRule(
            "one buildpack that has to be asked makes all be asked",
            [
                FakeBuildpack("a", skipsDetect: true, ["detect": "exit 1", "supply": "exit 9"]),
                FakeBuildpack("b", ["detect": "echo B", "compile": "exit 0", "release": releases]),
            ]
        ).with { $0.names = ["B"] },
        LifecycleRule("nothing detected", [FakeBuildpack("a", ["detect": "exit 1"])]).with {
            $0.exitCode = 222
            $0.names = []
            $0.failure = ["phase": "detect"]
        },
        LifecycleRule("no buildpacks at all", []).with { $0.exitCode = 222 },
        LifecycleRule(
            "what detects says on standard error is the log's, not the name's",
            [
                FakeBuildpack(
                    "a", ["detect": "echo hint >&2; echo Name", "compile": "exit 0", "release": releases])
            ]
        ).with {
            $0.names = ["Name"]
            $0.logHas = ["hint"]
        },
        LifecycleRule(
            "a name in config.yml wins over detect's",
            [
                FakeBuildpack(
                    "a",
                    [
                        "detect": "echo Detected", "finalize": "echo 'name: configured' > $3/$4/config.yml",
                        "release": releases,
                    ])
            ]
        ).with { $0.names = ["configured"] },
        LifecycleRule(
            "a buildpack in one directory of its archive",
            [
                FakeBuildpack(
                    "a", nesting: "buildpack-1.0/",
                    ["detect": "echo Nested", "compile": "exit 0", "release": releases])
            ]
        ).with { $0.names = ["Nested"] },
    ]

    static let supplying: [LifecycleRule] = [
        LifecycleRule(
            "all but the last supply, the last one supplies and finalizes",
            [
                FakeBuildpack("a", key: "a", skipsDetect: true, ["detect": "exit 1", "supply": tracing]),
                FakeBuildpack(
                    "b", skipsDetect: true,
                    [
                        "supply": tracing, "finalize": tracing + "; echo x > $5/b.sh", "compile": "exit 9",
                        "release": releases,
                    ]),
            ]
        ).with {
            $0.names = ["a", "b"]
            $0.trace = """
                supply W/app W/cache/d24ec4f1a98c6e5b W/contents/deps 0
                supply W/app W/cache/final W/contents/deps 1
                finalize W/app W/cache/final W/contents/deps 1 W/contents/profile.d

                """
            $0.commands = ["web": "from release"]
            $0.hasFiles = ["deps/0", "deps/1", "profile.d/b.sh", "logs", "tmp"]
        },
        LifecycleRule(
            "the last one without finalize compiles, and can't use what was supplied",
            [
                FakeBuildpack("a", skipsDetect: true, ["supply": "exit 0"]),
                FakeBuildpack(
                    "b", skipsDetect: true, ["supply": "exit 9", "compile": tracing, "release": releases]),
            ]
        ).with {
            $0.trace = "compile W/app W/cache/final\n"
            $0.logHas = ["WARNING: the last buildpack has no bin/finalize"]
            $0.hasFiles = ["deps/0"]
            $0.hasNotFiles = ["deps/1"]
        },
        LifecycleRule(
            "one alone that compiles is not warned of",
            [FakeBuildpack("b", skipsDetect: true, ["compile": "exit 0", "release": releases])]
        ).with { $0.logHasNot = ["WARNING"] },
        LifecycleRule(
            "the last one without supply only finalizes",
            [FakeBuildpack("b", skipsDetect: true, ["finalize": tracing, "release": releases])]
        ).with {
            $0.trace = "finalize W/app W/cache/final W/contents/deps 0 W/contents/profile.d\n"
        },
        LifecycleRule(
            "an earlier one without supply fails before anything runs",
            [
                FakeBuildpack("a", skipsDetect: true, ["supply": "echo ran"]),
                FakeBuildpack("old", skipsDetect: true, ["compile": "exit 0"]),
                FakeBuildpack("b", skipsDetect: true, ["finalize": "exit 0", "release": releases]),
            ]
        ).with {
            $0.exitCode = 225
            $0.logHasNot = ["ran"]
            $0.failure = ["phase": "supply", "buildpack": "old"]
        },
        LifecycleRule(
            "a malformed one fails where none is asked",
            [
                FakeBuildpack("empty", skipsDetect: true, [:]),
                FakeBuildpack("b", skipsDetect: true, ["finalize": "exit 0", "release": releases]),
            ]
        ).with {
            $0.exitCode = 225
            $0.failure = ["buildpack": "empty"]
        },
        LifecycleRule(
            "an earlier one's supply fails; what it said of itself is kept",
            [
                FakeBuildpack(
                    "a", skipsDetect: true,
                    ["supply": "printf 'name: A\\nversion: 1.10\\n' > $3/$4/config.yml; exit 7"]),
                FakeBuildpack("b", skipsDetect: true, ["finalize": "echo ran", "release": releases]),
            ]
        ).with {
            $0.exitCode = 225
            $0.names = ["A", "b"]
            $0.logHasNot = ["ran"]
            $0.logHas = ["-----> Supply a: failed after"]
            $0.failure = ["phase": "supply", "buildpack": "a", "exit_code": 7]
        },
        LifecycleRule(
            "eleven buildpacks: indexes have two digits, and launch.yml is found",
            (0..<10).map {
                FakeBuildpack(
                    "s\($0)", skipsDetect: true,
                    ["supply": "printf 'processes: [{type: p'$4', command: c}]' > $3/$4/launch.yml"])
            } + [FakeBuildpack("b", skipsDetect: true, ["finalize": tracing, "release": releases])]
        ).with {
            $0.trace = "finalize W/app W/cache/final W/contents/deps 10 W/contents/profile.d\n"
            $0.hasFiles = ["deps/00", "deps/09", "deps/10"]
            $0.commands = Dictionary(
                uniqueKeysWithValues: (0..<10).map { ("p0\($0)", "c") } + [("web", "from release")])
        },
    ]

    static let removing: [LifecycleRule] = [
        LifecycleRule(
            "directories that the last one removes are empty in the droplet",
            [FakeBuildpack("b", skipsDetect: true, ["finalize": "rm -rf $3 $5 $3/../logs", "release": releases])]
        ).with { $0.hasFiles = ["deps", "profile.d", "logs", "tmp"] }
    ]

    static let failing: [LifecycleRule] = [
        LifecycleRule(
            "the last one's supply fails",
            [FakeBuildpack("b", skipsDetect: true, ["supply": "exit 3", "finalize": "exit 0"])]
        ).with {
            $0.exitCode = 223
            $0.failure = ["phase": "supply", "buildpack": "b", "exit_code": 3]
        },
        LifecycleRule(
            "finalize fails", [FakeBuildpack("b", skipsDetect: true, ["finalize": "exit 4"])]
        ).with {
            $0.exitCode = 223
            $0.failure = ["phase": "finalize", "exit_code": 4]
        },
        LifecycleRule(
            "compile fails; the buildpack is named all the same",
            [FakeBuildpack("b", ["detect": "echo B", "compile": "exit 5"])]
        ).with {
            $0.exitCode = 223
            $0.names = ["B"]
            $0.failure = ["phase": "compile", "exit_code": 5]
        },
        LifecycleRule(
            "compile is killed", [FakeBuildpack("b", ["detect": "exit 0", "compile": "kill -KILL $$"])]
        ).with {
            $0.exitCode = 223
            $0.failure = ["phase": "compile", "signal": 9]
        },
        LifecycleRule("compile is missing", [FakeBuildpack("b", ["detect": "exit 0"])]).with {
            $0.exitCode = 223
            $0.failure = ["phase": "compile", "buildpack": "b", "message": "the buildpack b has no bin/compile"]
        },
        LifecycleRule(
            "release fails",
            [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": "exit 6"])]
        ).with {
            $0.exitCode = 224
            $0.failure = ["phase": "release", "exit_code": 6]
        },
        LifecycleRule(
            "release is missing", [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0"])]
        ).with {
            $0.exitCode = 224
            $0.failure = ["phase": "release", "buildpack": "b", "message": "the buildpack b has no bin/release"]
        },
        LifecycleRule(
            "release prints what is no YAML",
            [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": "echo 'a: [b'"])]
        ).with { $0.exitCode = 224 },
        LifecycleRule(
            "release prints something else",
            [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": "echo just text"])]
        ).with { $0.exitCode = 224 },
        LifecycleRule(
            "release prints without end",
            [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": "yes"])]
        ).with { $0.exitCode = 224 },
        LifecycleRule(
            "a Procfile that is no YAML", app: ["Procfile": "web: [a"],
            [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": releases])]
        ).with {
            $0.exitCode = 1
            $0.failure = ["phase": "processes"]
        },
        LifecycleRule(
            "a launch.yml that is no list of processes",
            [FakeBuildpack("b", skipsDetect: true, ["finalize": "echo 'processes: {a: b}' > $3/$4/launch.yml"])]
        ).with {
            $0.exitCode = 1
            $0.failure = ["phase": "processes"]
        },
        LifecycleRule(
            "an app in place of which the buildpack leaves a link",
            [
                FakeBuildpack(
                    "b", ["detect": "exit 0", "compile": "rm -rf $1; ln -s /etc $1", "release": releases])
            ]
        ).with {
            $0.exitCode = 1
            $0.failure = ["phase": "droplet"]
        },
    ]

    static let processes: [LifecycleRule] = [
        LifecycleRule(
            "release's processes",
            [
                FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": releases])
            ]
        ).with { $0.commands = ["web": "from release"] },
        LifecycleRule(
            "the last one's launch.yml makes release needless",
            [
                FakeBuildpack(
                    "b", skipsDetect: true,
                    [
                        "finalize": "echo 'processes: [{type: web, command: from launch}]' > $3/$4/launch.yml",
                        "release": "exit 9",
                    ])
            ]
        ).with { $0.commands = ["web": "from launch"] },
        LifecycleRule(
            "later ones win: supply's launch.yml, then release, then the Procfile",
            app: ["Procfile": "worker: from Procfile\n"],
            [
                FakeBuildpack(
                    "a", skipsDetect: true,
                    [
                        "supply":
                            "printf 'processes:\\n- {type: web, command: a}\\n- {type: worker, command: a}\\n"
                            + "- {type: x, command: a}\\n' > $3/$4/launch.yml"
                    ]),
                FakeBuildpack("b", skipsDetect: true, ["finalize": "exit 0", "release": releases]),
            ]
        ).with { $0.commands = ["web": "from release", "worker": "from Procfile", "x": "a"] },
        LifecycleRule(
            "a process and a sidecar of one type in one launch.yml",
            [
                FakeBuildpack(
                    "b", skipsDetect: true,
                    [
                        "finalize":
                            "printf 'processes:\\n- {type: web, command: serve}\\n- {type: web, command: aside,"
                            + " platforms: {cloudfoundry: {sidecar_for: [worker]}}}\\n' > $3/$4/launch.yml"
                    ])
            ]
        ).with { $0.commands = ["web": "serve"] },
        LifecycleRule(
            "no web process is a warning", app: ["Procfile": "worker: w\n"],
            [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": "echo '--- {}'"])]
        ).with {
            $0.commands = ["worker": "w"]
            $0.logHas = ["WARNING: no start command"]
        },
        LifecycleRule(
            "a release that prints nothing",
            [FakeBuildpack("b", ["detect": "exit 0", "compile": "exit 0", "release": "exit 0"])]
        ).with { $0.commands = [:] },
        LifecycleRule(
            "a Procfile that the buildpack writes counts",
            [
                FakeBuildpack(
                    "b", ["detect": "exit 0", "compile": "echo 'web: made' > $1/Procfile", "release": releases])
            ]
        ).with { $0.commands = ["web": "made"] },
    ]
}

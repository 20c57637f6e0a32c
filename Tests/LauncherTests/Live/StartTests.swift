import Foundation
import Testing

@Suite("launch on a tiny root without bash")
struct StartTests {
    @Test("Profile scripts are sourced in the order of their names: the buildpacks', the app's, .profile")
    func profileOrder() throws {
        let root = try TinyRoot()
        for name in ["profile.d/0_python.sh", "profile.d/000_multi-supply.sh", "profile.d/10_a.sh", "profile.d/9_b.sh"]
        {
            try root.write(name, "export TRACE=\"$TRACE ${PWD##*/}:\(name)\"\n")
        }
        try root.write("app/.profile.d/b.sh", "TRACE=\"$TRACE b\"\n")
        try root.write("app/.profile.d/B.sh", "TRACE=\"$TRACE B\"; set -- changed arguments\n")
        try root.write("app/.profile.d/it's odd.sh", "TRACE=\"$TRACE odd\"\n")
        try root.write("app/.profile.d/.hidden", "TRACE=hidden\n")
        try root.write("app/.profile.d/directory/x.sh", "TRACE=directory\n")
        try root.write("app/.profile", "export TRACE=\"$TRACE profile\"; PATH=$PATH:/home/vcap/app/tools\n")
        try root.writeScript("app/tools/hello", "#!/bin/sh\necho \"$TRACE\" \"$@\"\n")
        let order =
            " app:profile.d/000_multi-supply.sh app:profile.d/0_python.sh app:profile.d/10_a.sh "
            + "app:profile.d/9_b.sh B b odd profile"
        let line = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": "hello 'a  b'; exit 4"])
        #expect(line.output == order + " a  b\n")
        #expect(line.errors == "")
        #expect(line.exitCode == 4)
        let program = try root.runAsProcessOne(["/lifecycle/launch", "hello", "a  b", "$c"])
        #expect(program.output == order + " a  b $c\n")
    }

    @Test("The app starts in its directory with its environment, and messages name the shell as it calls itself")
    func environment() throws {
        let root = try TinyRoot()
        let command = try root.runAsProcessOne(
            ["/lifecycle/launch"],
            [
                "START_COMMAND": "echo $0 $HOME $PWD $TMPDIR $DEPS_DIR $PORT $CF_INSTANCE_INDEX; echo $DATABASE_URL",
                "POD_NAME": "app-7", "VCAP_SERVICES": #"{"a":[{"credentials":{"uri":"mysql://h/d"}}]}"#,
            ])
        #expect(
            command.lines == ["sh /home/vcap/app /home/vcap/app /home/vcap/tmp /home/vcap/deps 8080 7", "mysql2://h/d"])
    }

    @Test("Each place of a start command works: staging_info.yml, then the Procfile, then launch.yml")
    func commands() throws {
        let root = try TinyRoot()
        func output(_ words: [String] = []) throws -> String {
            try root.runAsProcessOne(["/lifecycle/launch"] + words).output
        }
        try root.write("deps/0/launch.yml", "processes:\n- type: web\n  command: echo first\n")
        try root.write("deps/1/launch.yml", "processes:\n- type: web\n  command: echo last\n")
        #expect(try output() == "last\n")
        try root.write("app/Procfile", "web: echo procfile\nworker: echo worker\n")
        #expect(try output() == "procfile\n")
        #expect(try output(["worker"]) == "worker\n")
        try root.write("staging_info.yml", #"{"detected_buildpack":"x","start_command":"echo staged"}"#)
        #expect(try output() == "staged\n")
        #expect(try output(["web"]) == "procfile\n")
        #expect(try output(["echo line"]) == "line\n")
        #expect(try output(["sh", "-c", "echo \"$@\"", "name", "a", "b  c"]) == "a b  c\n")
        #expect(try output(["--", "echo", "worker"]) == "worker\n")
        try root.write(
            "staging_info.yml", #"{"start_command":"echo staged","config":{"entrypoint_prefix":"echo prefix"}}"#)
        #expect(try output() == "prefix echo staged\n")
    }

    @Test("Without a start command it says where it looked, and shows no secret")
    func noCommand() throws {
        let root = try TinyRoot()
        try root.write("app/Procfile", "worker: run --token=s3cret\n")
        let command = try root.runAsProcessOne(["/lifecycle/launch"], ["TOKEN": "s3cret"])
        #expect(command.exitCode == 1)
        #expect(command.output == "")
        for part in [
            "START_COMMAND", "/home/vcap/staging_info.yml is missing", "/home/vcap/app/Procfile has only worker",
        ] {
            #expect(command.errors.contains(part))
        }
        #expect(!command.errors.contains("s3cret"))
    }

    @Test("A staging_info.yml that is not understood is named, and START_COMMAND still works")
    func badStagingInfo() throws {
        let root = try TinyRoot()
        try root.write("staging_info.yml", #"{"start_command":"s3cret""#)
        let command = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": "echo runs"])
        #expect(command.output == "runs\n")
        #expect(command.errors.hasPrefix("launch: /home/vcap/staging_info.yml is not understood: "))
        let none = try root.runAsProcessOne(["/lifecycle/launch"])
        #expect(none.exitCode == 1)
        #expect(none.errors.contains("staging_info.yml is not understood") && !none.errors.contains("s3cret"))
    }

    @Test("An image without a shell or an app says so")
    func missingParts() throws {
        let root = try TinyRoot()
        try FileManager.default.removeItem(at: root.path("bin/sh"))
        let shell = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": "true"])
        #expect(shell.exitCode == 127)
        #expect(shell.errors.hasPrefix("launch: this image has no shell: "))
        let program = try root.runAsProcessOne(["/lifecycle/launch", "--", "echo", "works"])
        #expect(program.output == "works\n")
        try FileManager.default.removeItem(at: root.path("home/vcap/app"))
        let app = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": "true"])
        #expect(app.exitCode == 1)
        #expect(app.errors == "launch: the app's directory /home/vcap/app: No such file or directory\n")
    }

    @Test("Where it is not process 1 it becomes the app: no process stands between")
    func replaces() throws {
        let root = try TinyRoot()
        let command = try root.run(["/bin/sh", "-c", "echo $$; exec /lifecycle/launch 'echo $$; exit 6'"])
        #expect(command.lines.count == 2)
        #expect(command.lines.first == command.lines.last)
        #expect(command.exitCode == 6)
    }

    @Test("A script without #! is a shell's", arguments: ["/lifecycle/launch", "/usr/bin/dumb-init"])
    func plainScript(program: String) throws {
        let root = try TinyRoot()
        try root.writeScript("app/plain", "echo plain \"$@\"\n")
        #expect(try root.runAsProcessOne([program, "--", "/home/vcap/app/plain", "a b"]).output == "plain a b\n")
    }

    @Test("Arguments and variables that are no UTF-8 arrive as they are")
    func otherEncodings() throws {
        let root = try TinyRoot()
        try root.writeScript("app/show", "#!/bin/sh\necho \"$1$X\"\n")
        let script = #"x=$(printf '\303\050'); X=$x exec /lifecycle/launch -- ./show "$x""#
        try root.link("bin/printf", to: "busybox")
        try root.link("bin/od", to: "busybox")
        let command = try root.run(["/bin/sh", "-c", "(\(script)) | od -An -tx1"])
        #expect(command.output.split(separator: " ").joined(separator: " ") == "c3 28 c3 28 0a\n")
    }
}

@Suite("shell on a tiny root without bash")
struct ShellTests {
    private static let files = [
        "profile.d/a.sh": "export TRACE=\"$TRACE ${PWD##*/}:buildpack\"\n",
        "app/.profile.d/b": "TRACE=\"$TRACE app\"\n",
        "app/.profile": "TRACE=\"$TRACE profile\"\n", "app/app/x": "",
        "staging_info.yml": #"{"start_command":"echo never","config":{"entrypoint_prefix":"echo prefix"}}"#,
    ]

    @Test(
        "A command runs in the app's environment, after the scripts but for .profile, and without the entrypoint's prefix",
        arguments: [
            (["/lifecycle/shell", "/home/vcap/app", "echo $TRACE $0 $PWD $CF_INSTANCE_INDEX \"a  b\"; exit 7"], 7),
            (
                [
                    "/bin/sh", "-c",
                    "cd /home/vcap; exec /lifecycle/shell app 'echo $TRACE $0 $PWD $CF_INSTANCE_INDEX \"a  b\"'",
                ], 0
            ),
            // Without a command the shell reads its input.
            (["/bin/sh", "-c", "echo 'echo $TRACE sh $PWD $CF_INSTANCE_INDEX \"a  b\"' | /lifecycle/shell"], 0),
        ] as [([String], Int32)])
    func command(words: [String], exitCode: Int32) throws {
        let root = try TinyRoot()
        for (name, text) in Self.files { try root.write(name, text) }
        // Images set HOME to the app, in which there may be a directory `app` of its own.
        let environment = ["POD_NAME": "app-7", "HOME": "/home/vcap/app", "START_COMMAND": "echo never"]
        let command = try root.run(words, environment)
        #expect(command.output == "app:buildpack app sh /home/vcap/app 7 a  b\n")
        #expect(command.errors == "" && command.exitCode == exitCode)
    }

    @Test("Where there is no app or no shell it says so")
    func missing() throws {
        let root = try TinyRoot()
        let app = try root.run(["/lifecycle/shell", "/nowhere"])
        #expect(app.exitCode == 1)
        #expect(app.errors == "shell: the app's directory /nowhere: No such file or directory\n")
        try FileManager.default.removeItem(at: root.path("bin/sh"))
        let shell = try root.run(["/lifecycle/shell"])
        #expect(shell.exitCode == 127 && shell.errors.hasPrefix("shell: this image has no shell: "))
    }
}

@Suite("launcher, with this machine's bash")
struct LauncherTests {
    private func run(_ words: [String], _ files: [String: String] = [:]) throws -> Command {
        let directory = FileManager.default.temporaryDirectory
            .appending(component: "cistern-launcher-\(UUID().uuidString)", directoryHint: .isDirectory)
        defer { try? FileManager.default.removeItem(at: directory) }
        for (name, text) in files.merging(["app/x": ""], uniquingKeysWith: { first, _ in first }) {
            let file = directory.appending(path: name)
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(text.utf8).write(to: file)
        }
        let program = directory.appending(component: "launcher")
        try FileManager.default.createSymbolicLink(at: program, withDestinationURL: BuiltLaunch.url())
        return try Command(
            [program.path(percentEncoded: false)] + words, environment: ["PATH": "/usr/bin:/bin"], directory: directory)
    }

    @Test("Its arguments are the app's directory and the command, for bash")
    func command() throws {
        let command = try run(
            ["app", #"[[ $BASH_VERSION && $A == 1 ]] && echo $0 ${HOME##*/} ${TMPDIR##*/}; exit 26"#, "{}"],
            ["profile.d/a.sh": "export A=1"])
        #expect(command.output == "bash app tmp\n")
        #expect(command.exitCode == 26)
    }

    @Test("An empty command is staging_info.yml's, beside the app's directory")
    func staged() throws {
        let command = try run(["app", "", ""], ["staging_info.yml": "start_command: echo staged\n"])
        #expect(command.output == "staged\n")
    }

    @Test("Too few arguments are refused as the predecessor refused them")
    func usage() throws {
        let command = try run(["app"])
        #expect(command.exitCode == 1)
        #expect(command.errors.hasPrefix("launcher: received only 1 arguments\nUsage: "))
    }
}

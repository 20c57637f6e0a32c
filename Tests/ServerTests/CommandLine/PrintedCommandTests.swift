import Foundation
import JSON
import TestSupport
import Testing

extension ServerTests {
    /// Every command that people are told to type is typed here, in one directory whose files have the names that stand
    /// for files (`FILE`, `DROPLET.tgz`), against one server whose stack and versions are called as the commands call
    /// them (`S`, `OLD`, `NEW`).
    @Suite("What is printed to be typed", .serialized, .sideBySide)
    struct PrintedCommandTests {
        /// A printed command and how it is typed.
        struct Typed {
            let printed: String
            /// What is typed where something has to be put in; nil: what is printed.
            var typed: String?
            /// Its standard input: a file.
            var input: String?

            init(_ printed: String, as typed: String? = nil, input: String? = nil) {
                self.printed = printed
                self.typed = typed
                self.input = input
            }
        }

        /// In the order in which they are typed.
        static let commands: [Typed] = [
            // What is needed by others comes first.
            Typed("(umask 077; openssl genpkey -algorithm ed25519 -out provenance.pem)"),
            Typed(
                "(umask 077; openssl genpkey -algorithm ed25519 -out …)",
                as: "(umask 077; openssl genpkey -algorithm ed25519 -out KEY)"),
            Typed("openssl pkey -pubout", input: "KEY"),
            Typed("openssl pkey -in KEY -out PLAIN_KEY"),
            Typed("openssl pkey -in KEY -pubout", as: "openssl pkey -in KEY -pubout >DIR/trust/key.pem"),
            Typed(
                "openssl pkeyutl -sign -rawin", as: "openssl pkeyutl -sign -rawin -inkey KEY -in FILE -out SIGNATURE"),
            Typed("openssl pkeyutl -sign -rawin -inkey KEY -in FILE"),
            Typed("minisign -S", as: "minisign -S -s MINISIGN_KEY -m FILE"),
            Typed("minisign -S -s KEY -m FILE", as: "minisign -S -s MINISIGN_KEY -m FILE"),

            Typed("cistern --version"),
            Typed("cistern serve --help"),
            Typed("cistern serve --data DIR --print-config"),
            Typed(
                "cistern serve --lifecycle arm64=DIR",
                as: "cistern serve --data DIR --lifecycle arm64=DIR --print-config"),
            Typed("cistern user add --data DIR NAME", input: "SECRET"),
            Typed(
                "cistern user add --data DIR --role ROLE NAME", as: "cistern user add --data DIR --role push NAME",
                input: "SECRET"),

            Typed("cistern rootfs import --stack STACK --version VERSION --promote FILE"),
            Typed(
                "cistern rootfs import --stack S --version 1 --promote --shell /bin/sh TINY.tar.gz"),
            Typed(
                "cistern rootfs import --stack cisternfs --version 1 --promote \"$(rootfs/build cisternfs 1)\"",
                as: "cistern rootfs import --stack debian --version 1 --promote \"$(rootfs/build cisternfs 1 --stamp)\""
            ),
            Typed(
                "cistern rootfs import --kind build",
                as: "cistern rootfs import --kind build --stack STACK --version VERSION FILE"),
            Typed(
                "cistern rootfs import --kind build --stack … --version … FILE",
                as: "cistern rootfs import --kind build --stack STACK --version VERSION FILE"),
            Typed("cistern rootfs promote --stack … --version …", as: "cistern rootfs promote --stack S --version OLD"),
            Typed("cistern rootfs list --stack …", as: "cistern rootfs list --stack S"),
            Typed("cistern rootfs show --stack S"),
            Typed("cistern rootfs check VERSION --stack S --boot"),
            Typed("cistern rootfs packages VERSION --stack S"),
            Typed("cistern rootfs diff OLD NEW --stack S"),
            Typed("cistern rootfs delta OLD NEW --stack S"),
            Typed("cistern rootfs delta … … --stack …", as: "cistern rootfs delta OLD NEW --stack S"),
            Typed("cistern rootfs prepull --stack S --version V"),
            Typed("cistern rootfs deprecate", as: "cistern rootfs deprecate --stack S --version V --reason why"),
            Typed("cistern rootfs allow --stack … --version …", as: "cistern rootfs allow --stack S --version V"),
            Typed("cistern rootfs export … FILE", as: "cistern rootfs export --stack S --version V EXPORTED"),
            Typed("cistern rootfs rollback --stack S"),
            Typed(
                "cistern rootfs rollback --stack …",
                as: "cistern rootfs promote --stack S --version NEW && cistern rootfs rollback --stack S"),
            Typed("cistern rootfs remove", as: "cistern rootfs remove --stack S --version V --force"),

            Typed("cistern buildpack upload FILE.zip"),
            Typed("cistern stage -b BUILDPACK APP_DIR", as: "cistern stage -b BUILDPACK APP_DIR --stack S"),
            Typed("cistern stage APP_DIR -b BUILDPACK", as: "cistern stage APP_DIR -b BUILDPACK --stack S"),
            Typed("cistern stage APP_DIR --stack …", as: "cistern stage APP_DIR --stack S"),
            Typed("cistern stage --stack S -b BUILDPACK APP_DIR"),
            Typed("cistern droplet upload --guid my-app droplet.tgz"),
            Typed(
                "cistern droplet upload --guid my-app DROPLET.tgz",
                as: "cistern droplet upload --guid other-app --stack S DROPLET.tgz"),
            Typed(
                "cistern droplet upload --buildpack NAME[@VERSION][=sha256:HEX|=git:COMMIT] --org NAME --space NAME",
                as: "cistern droplet upload --guid stated --stack S --buildpack NAME@VERSION=git:"
                    + String(repeating: "ab", count: 20) + " --org NAME --space NAME DROPLET.tgz"),
            Typed("cistern droplet show", as: "cistern droplet show --guid stated"),
            Typed("cistern droplet list --guid …", as: "cistern droplet list --guid other-app"),
            Typed(
                "cistern droplet remove --guid … --hash …",
                as: "cistern droplet remove --guid other-app --hash $(cistern droplet list --guid other-app --json | "
                    + "jq -r '.droplets[0].hash')"),

            Typed("skopeo inspect --cert-dir CERTS --creds pull:PASSWORD docker://IMAGE"),
            Typed(
                "skopeo inspect --format '{{.Digest}}' …",
                as:
                    "skopeo inspect --cert-dir CERTS --creds pull:PASSWORD --format '{{.Digest}}' docker://HOST:PORT/cistern/S:1"
            ),
            Typed(
                "cistern rootfs import … docker://HOST/NAME@sha256:…",
                as: "cistern rootfs import --stack S --version COPY --shell /bin/sh --source-user pull "
                    + "--source-password-file DIR/secrets/pull.password --source-ca CERTS/ca.crt docker://HOST:PORT/cistern/S@"
                    + "$(skopeo inspect --cert-dir CERTS --creds pull:PASSWORD --format '{{.Digest}}' docker://HOST:PORT/cistern/S:1)"
            ),
            Typed(
                "cistern rootfs remove --stack … --version …",
                as: "cistern rootfs remove --stack S --version COPY --force"),
            Typed(
                "skopeo copy oci:image docker://HOST:PORT/team/app:1",
                as:
                    "skopeo copy --src-cert-dir CERTS --src-creds pull:PASSWORD docker://IMAGE oci:image && skopeo copy "
                    + "--dest-cert-dir CERTS --dest-creds operator:OPERATOR oci:image docker://HOST:PORT/team/app:1"),
            Typed(
                "podman pull --cert-dir CERTS --creds pull:PASSWORD IMAGE && podman run --env PORT=8080 -p 8080:8080 IMAGE"
            ),

            Typed("cistern gc", as: "cistern gc"),
            Typed("cistern verify"),
            Typed("cistern verify --repair"),
            Typed("cistern usage"),
            Typed("cistern usage --count"),
            Typed("cistern operation list"),
            Typed("cistern cluster add NAME"),
            Typed("cistern cluster list"),
            Typed("cistern cluster forget NAME"),
            Typed(
                "cistern operation show --follow …",
                as: "cistern operation show --follow $(cistern operation list --json | jq -r '.operations[0].id')"),
        ]

        /// Those that other tests type, or that the suite types by themselves; with the file and the words of the test.
        static let elsewhere: [String: (file: String, test: String)] = [
            // The first start, and what it prints.
            "cistern serve --data ~/cistern": ("ServerTests/CommandLine/PrintedCommandTests.swift", "func typed()"),
            "cistern rootfs import --stack … --version 1 --promote ROOTFS.tar.gz": (
                "ServerTests/CommandLine/PrintedCommandTests.swift", "func typed()"
            ),
            "export CISTERN_SERVER=… CISTERN_USER=operator": (
                "ServerTests/CommandLine/PrintedCommandTests.swift", "func typed()"
            ),
            "export CISTERN_PASSWORD_FILE=……": ("ServerTests/CommandLine/PrintedCommandTests.swift", "func typed()"),
            // What `cistern stage` prints.
            "podman pull… --creds pull:PASSWORD ……": (
                "ServerTests/CommandLine/PrintedCommandTests.swift", "func typed()"
            ),
            "podman run -e PORT=8080 -p 8080:8080 …": (
                "ServerTests/CommandLine/PrintedCommandTests.swift", "func typed()"
            ),
            // After the server has ended.
            "cistern verify --data DIR": ("ServerTests/CommandLine/PrintedCommandTests.swift", "func typed()"),
            "cistern serve --accept-loss": (
                "ServerTests/Operations/RestartTests.swift", "A journal that went missing after kill -9"
            ),
            "cistern user remove": (
                "ServerTests/CommandLine/ConnectionTests.swift", #"Self.user(["remove", "--data", data, "pull"])"#
            ),
            // Of an operation that still runs.
            "cistern operation cancel …": (
                "ServerTests/Operations/LongWorkTests.swift", "followed and cancelled by the command line"
            ),
            // It needs a daemon.
            "docker login -u pull 127.0.0.1:8443 && docker run -e PORT=8080 -p 8080:8080 IMAGE": (
                "ClientTests/RunningAppTests.swift", "dockerd pulls and runs the same"
            ),
            "docker save": ("ClientTests/ImportedImageTests.swift", "What docker save writes is taken"),
            // A cluster's command runs this in the app's container.
            "kubectl exec -it POD -- /lifecycle/shell": (
                "ClientTests/RunningAppTests.swift", "What people start to look into a container."
            ),
        ]

        /// Those that need a cluster, which no test has.
        static let ofClusters: Set<String> = [
            "kubectl create secret docker-registry cistern --docker-server=HOST:8443 --docker-username=pull "
                + "--docker-password=PASSWORD",
            "kubectl create deployment my-app --image=IMAGE",
        ]

        @Test("Each of them is known here, and each that is known is printed somewhere")
        func known() async throws {
            let said = try PrintedCommands.said()
            #expect(said.unquoted == [], "these commands want back quotes around them")
            let printed = try await PrintedCommands.documented().union(said.commands)
                .union(PrintedCommands.demonstrated())
            let typed = Set(Self.commands.map(\.printed)).union(Self.elsewhere.keys).union(Self.ofClusters)
            for command in printed.subtracting(typed).sorted() {
                // A verb without its arguments is a name: some row has it with them.
                let isVerb = typed.contains { $0.hasPrefix(command + " ") } && !command.contains(" -")
                #expect(isVerb, "nobody types: \(command)")
            }
            #expect(typed.subtracting(printed).sorted() == [], "printed no more")
            for (command, (file, test)) in Self.elsewhere {
                let text = try String(contentsOfFile: "\(Programs.repository)/Tests/\(file)", encoding: .utf8)
                #expect(text.contains(test), "\(command)")
            }
        }

        @Test("Each flag that a message names is one")
        func flags() async throws {
            var help = ""
            func add(_ program: String, _ command: [String] = []) async throws {
                let text = try await run(program, command + ["--help"]).output
                help += text + "\n"
                guard let commands = text.components(separatedBy: "SUBCOMMANDS:\n").dropFirst().first else { return }
                for line in commands.split(separator: "\n") {
                    if let match = line.prefixMatch(of: /\s\s([a-z]+)\s/) {
                        try await add(program, command + [String(match.1)])
                    }
                }
            }
            for program in ["cistern", "stage-download", "stage-build", "stage-upload"] { try await add(program) }
            let known = Set(help.matches(of: /--[a-z][a-z0-9-]+/).map { String($0.output) })
            try #require(known.count > 80)
            // These start other programs by scripts, and answer for them.
            let others = ["Sources/Launcher/", "Sources/StagingService/"]
            // Flags of zstd, of tar, and of clients that push images.
            let foreign = ["--long", "--ultra", "--ignore-zeros", "--format"]
            for flag in try PrintedCommands.said().flags
            where !others.contains(where: flag[0].hasPrefix) && !foreign.contains(flag[1]) {
                #expect(known.contains(flag[1]), "\(flag[0]): there is no \(flag[1])")
            }
        }

        @Test("Each of them works", .timeLimit(.minutes(10)))
        func typed() async throws {
            try await withTemporaryDirectory { directory in
                let desk = try await Desk(directory)
                // Port 8443 may be another test's.
                let server = try ChildProcess(
                    "bash", ["-c", "PATH=\(Programs.builtDirectory):$PATH; exec cistern serve --data ~/cistern"],
                    environment: ["HOME": directory, "CISTERN_LISTEN": "127.0.0.1:0"], log: directory + "/log")
                do {
                    let log = try await waitFor("what the first start prints") { () -> String? in
                        let log = try String(contentsOfFile: directory + "/log", encoding: .utf8)
                        return log.contains("DROPLET.tgz\n") ? log : nil
                    }
                    let next = try Self.hints(in: log)
                    #expect(next.count == 4, "\(next)")
                    try await desk.type(next.joined(separator: "\n"), with: [:])

                    let address = try String(contentsOfFile: directory + "/cistern/address", encoding: .utf8)
                        .trimmingCharacters(in: .newlines)
                    try await desk.prepare(server: address)
                    for command in Self.commands {
                        try await desk.type(command.typed ?? command.printed, input: command.input)
                    }
                    let staged = try await desk.type("cistern stage --stack S -b BUILDPACK APP_DIR")
                    #expect(staged.output == desk.image)
                    for command in try Self.hints(in: staged.errors) { try await desk.type(command) }
                    try await desk.expectApp()
                } catch {
                    try? await desk.clear()
                    _ = try? await server.stop()
                    throw error
                }
                try await desk.clear()
                #expect(try await server.stop() == 0)
                try await desk.type("cistern verify --data DIR")
            }
        }

        /// The lines below "Type next".
        private static func hints(in text: String) throws -> [String] {
            let lines = text.components(separatedBy: "\n")
            let title = try #require(lines.firstIndex { $0.hasPrefix("Type next") }, "\(text)")
            return lines[(title + 1)...].prefix { $0.hasPrefix("  ") }.map {
                $0.components(separatedBy: "  #")[0].trimmingCharacters(in: .whitespaces)
            }
        }
    }

    /// Where the commands are typed.
    private final class Desk {
        private let directory: String
        private var environment: [String: String] = [:]
        private var words: [String: String] = [:]
        var image: String { words["IMAGE"] ?? "" }

        /// Makes the files that commands name, as far as no server is needed for them.
        init(_ directory: String) async throws {
            self.directory = directory
            environment["HOME"] = directory
            // What is built for a minute is not built again for another home.
            environment["CISTERN_ROOTFS_CACHE"] =
                (try await Fixtures.cisternfs() as NSString).deletingLastPathComponent
            let rootfs = TestRootfs().tar.bytes
            for name in ["ROOTFS.tar.gz", "FILE"] { try write(name, rootfs) }
            try write("SECRET", Array("a password\n".utf8))
            try write("my-app/index.html", Array("<h1>hello</h1>\n".utf8))
            let droplet = try await Fixtures.sample("static")
            for name in ["DROPLET.tgz", "droplet.tgz"] { try link(name, droplet) }
            for version in ["1", "2"] {
                try link("TINY\(version).tar.gz", try await Fixtures.tinyRootfs(version: version))
            }
            try link("TINY.tar.gz", directory + "/TINY1.tar.gz")
            try link("rootfs", Programs.repository + "/rootfs")
            try link("DIR", directory + "/cistern")
            // Programs of other people keep what they have in this directory, and leave the machine's network alone.
            try write(
                "bin/podman",
                Array(
                    """
                    #!/bin/bash
                    command=$1
                    shift
                    [ "$command" != run ] || set -- --detach --network host --name app --replace \
                        --ulimit nofile=1024:1024 --ulimit nproc=1024:1024 "$@"
                    exec \(try Programs.path(of: "podman")) --root ~/podman/root --runroot ~/podman/run --tmpdir ~/podman/tmp \
                    --storage-driver overlay --cgroup-manager cgroupfs --events-backend none --runtime runc "$command" "$@"

                    """.utf8))
            let script = """
                cp -r '\(Programs.repository)/fixtures/buildpacks/static' BUILDPACK
                (cd BUILDPACK && bsdtar --format zip -cf ../static.zip .)
                chmod +x bin/podman
                minisign -G -W -f -p MINISIGN_PUB -s MINISIGN_KEY >/dev/null
                """
            try await runSuccessfully("bash", ["-euc", script], directory: directory)
        }

        /// Makes what needs the server: the stack's versions, and the words that stand for what only it knows.
        func prepare(server: String) async throws {
            environment["CISTERN_SERVER"] = server
            environment["CISTERN_USER"] = "operator"
            environment["CISTERN_PASSWORD_FILE"] = directory + "/cistern/secrets/operator.password"
            environment["CISTERN_CA"] = directory + "/cistern/tls/ca.pem"
            for (version, file) in [("OLD", 1), ("NEW", 2), ("VERSION", 1), ("V", 2)] {
                try await type(
                    "cistern rootfs import --stack S --version \(version) --shell /bin/sh TINY\(file).tar.gz")
            }
            for version in ["OLD", "NEW", "VERSION"] {
                try await type("cistern rootfs promote --stack S --version \(version)")
            }
            try FileManager.default.createDirectory(atPath: directory + "/CERTS", withIntermediateDirectories: true)
            try FileManager.default.createDirectory(
                atPath: directory + "/cistern/trust", withIntermediateDirectories: true)
            try link("CERTS/ca.crt", directory + "/cistern/tls/ca.pem")
            func password(_ user: String) throws -> String {
                try String(contentsOfFile: "\(directory)/cistern/secrets/\(user).password", encoding: .utf8)
                    .trimmingCharacters(in: .newlines)
            }
            words = [
                "HOST:PORT": server.replacing("https://", with: ""), "PASSWORD": try password("pull"),
                "OPERATOR": try password("operator"), "8080": "\(try freePort())", "APP_DIR": "my-app",
                "FILE.zip": "static.zip",
            ]
            words["IMAGE"] = try await type("cistern stage --stack S -b BUILDPACK APP_DIR").output
        }

        /// Types a command and expects that it works.
        @discardableResult
        func type(_ command: String, with words: [String: String]? = nil, input: String? = nil) async throws
            -> CommandResult
        {
            let pattern = /HOST:PORT|PASSWORD|OPERATOR|IMAGE|APP_DIR|FILE\.zip|8080/
            // A stack's images are repositories, whose names have small letters.
            let typed = command.replacing("--stack S ", with: "--stack s ").replacing(/--stack S$/, with: "--stack s")
                .replacing("--stack STACK", with: "--stack stack").replacing("cistern/S", with: "cistern/s")
                .replacing(pattern) {
                    (words ?? self.words)[String($0.output)] ?? String($0.output)
                }
            let path = "\(directory)/bin:\(Programs.builtDirectory)"
            let script = "PATH=\(path):$PATH\n" + typed
            let result = try await run(
                "bash", ["-euo", "pipefail", "-c", script], environment: environment, directory: directory,
                input: try input.map {
                    try String(contentsOfFile: "\(directory)/\($0)", encoding: .utf8)
                } ?? "",
                timeout: .seconds(120))
            #expect(
                result.status == 0,
                "\(command): \(result.status)\n\(result.output.suffix(1000))\n\(result.errors.suffix(1000))")
            return result
        }

        /// Expects that the app that `podman run` started answers.
        func expectApp() async throws {
            let port = words["8080"] ?? ""
            try await waitUntil("the app's page") {
                try await run("curl", ["--silent", "--fail", "http://127.0.0.1:\(port)/"]).output == "<h1>hello</h1>"
            }
        }

        /// Ends the app.
        func clear() async throws { try await type("podman rm --all --force --time 0") }

        private func write(_ name: String, _ bytes: [UInt8]) throws {
            let file = URL(fileURLWithPath: "\(directory)/\(name)")
            try FileManager.default.createDirectory(
                at: file.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: file)
        }

        private func link(_ name: String, _ target: String) throws {
            try FileManager.default.createSymbolicLink(
                atPath: "\(directory)/\(name)", withDestinationPath: target)
        }
    }
}

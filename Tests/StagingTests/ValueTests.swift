import Foundation
import JSON
import Launcher
import TestSupport
import Testing

@testable import Staging

@Suite("Values of the build")
struct ValueTests {
    @Test(
        "User and password are cut out of a URL",
        arguments: [
            ("https://u:p@h/x", "https://h/x"), ("https://u@h", "https://h"), ("https://h/a@b", "https://h/a@b"),
            ("https://a@b@h/x?q=1@2", "https://h/x?q=1@2"), ("ruby", "ruby"), ("a@b", "a@b"),
        ])
    func passwords(text: String, cut: String) {
        #expect(text.withoutUserInfo == cut)
    }

    @Test(
        "YAML is read as buildpacks write it",
        arguments: [
            ("a: 1.10\nb: 'x: y'\nc: |\n  two\n  lines\n", #"{"a":1.10,"b":"x: y","c":"two\nlines\n"}"#),
            ("x: &s text\ny: *s\n", #"{"x":"text","y":"text"}"#),
            ("base: &b {a: 1, c: 2}\nd:\n  <<: *b\n  a: 3\n", #"{"base":{"a":1,"c":2},"d":{"a":3,"c":2}}"#),
            ("a: 1\na: 2\n", #"{"a":2}"#),
            ("- ~\n- true\n- 'true'\n- 1.2.3\n- 0x1F\n", #"[null,true,"true","1.2.3","0x1F"]"#),
            ("", "{}"),
            ("--- {}\n--- {a: 1}\n", "{}"),
        ])
    func yaml(text: String, json: String) throws {
        #expect(try YAMLReader.parse(Array(text.utf8)).json == JSONValue(parsing: json))
    }

    @Test("YAML whose aliases multiply is refused, as is what nests too deep or is no YAML")
    func yamlLimits() {
        var bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n"
        for level in 1...9 {
            let aliases = Array(repeating: "*a\(level - 1)", count: 10).joined(separator: ", ")
            bomb += "a\(level): &a\(level) [\(aliases)]\n"
        }
        let deep = String(repeating: "[", count: 1000) + String(repeating: "]", count: 1000)
        for text in [bomb, deep, "a: [b", "a: b: c", "? [a]\n: b", "a: \u{1}", "x: *y"] {
            #expect(throws: YAMLError.self) { try YAMLReader.parse(Array(text.utf8)) }
        }
        #expect(throws: YAMLError.self) { try YAMLReader.parse([0x61, 0x3A, 0x20, 0xFF, 0xFE]) }
    }

    @Test("The process's own environment gives only what a buildpack is meant to see, and the request goes before it")
    func environment() throws {
        let own = Environment([
            "PATH=/bin", "CF_PASSWORD=s3cret", "COMPLETION_CALLBACK=https://u:p@h", "CF_INSTANCE_IP=10.0.0.1",
            "CF_STACK=own", "KUBERNETES_SERVICE_HOST=h", "MEMORY_LIMIT=1G", "HOME=/root",
        ])
        let made = BuildEnvironment.make(
            own: own, requested: [.init(name: "CF_STACK", value: "asked")], home: "/h", temporary: "/t", epoch: 5)
        let entries = Set(made.entries.map(\.display))
        #expect(
            entries == [
                "PATH=/bin", "CF_INSTANCE_IP=10.0.0.1", "CF_STACK=asked", "MEMORY_LIMIT=1G", "HOME=/h", "TMPDIR=/t",
                "LANG=C.UTF-8", "USER=vcap", "SOURCE_DATE_EPOCH=5",
            ])
    }

    @Test(
        "A file of variables is a list of names and values",
        arguments: [
            (#"[{"name":"A","value":"b"}]"#, true), ("[]", true), ("{}", false), (#"[{"name":"","value":"b"}]"#, false),
            (#"[{"name":"A=","value":"b"}]"#, false), (#"[{"name":"A","value":"b\u0000"}]"#, false),
            (#"[{"name":"A","value":1}]"#, false), ("s3cret", false),
        ])
    func variables(text: String, isRead: Bool) async throws {
        try await withTemporaryDirectory { directory in
            let path = directory + "/environment.json"
            try Data(text.utf8).write(to: URL(fileURLWithPath: path))
            do throws(BuildError) {
                _ = try BuildEnvironment.Variable.read(path)
                #expect(isRead)
            } catch {
                #expect(!isRead)
                #expect(!error.message.contains("s3cret"))
            }
        }
    }

    @Test("Arguments go before the predecessors' variables, and those before the usual places")
    func invocation() throws {
        func places(_ arguments: [String], _ variables: [SystemText] = []) throws -> BuildPlaces {
            try StageBuild.Invocation(arguments: ["stage-build"] + arguments, environment: Environment(variables))
                .places
        }
        let usual = try places([])
        #expect(usual.app == "/recipe_workspace/app.zip")
        #expect(usual.buildpacks == "/var/lib/buildpacks")
        #expect(
            [usual.droplet, usual.result, usual.newCache] == ["/out/droplet.tgz", "/out/result.json", "/out/cache.tgz"])
        let variables: [SystemText] = [
            "EIRINI_BUILDPACKS_DIR=/b", "EIRINI_WORKSPACE_DIR=/w", "EIRINI_OUTPUT_DROPLET_LOCATION=/o/d",
            "EIRINI_OUTPUT_METADATA_LOCATION=/o/r", "EIRINI_OUTPUT_BUILD_ARTIFACTS_CACHE=/o/c",
        ]
        let named = try places([], variables)
        #expect(
            [named.app, named.buildpacks, named.droplet, named.result, named.newCache]
                == ["/w/app.zip", "/b", "/o/d", "/o/r", "/o/c"])
        let given = try places(["--output", "/x", "--app", "/a", "--buildpacks", "/y"], variables)
        #expect([given.app, given.buildpacks, given.droplet] == ["/a", "/y", "/x/droplet.tgz"])
        for wrong in [["--bogus", "x"], ["--app"], ["--app", "relative"], ["extra"]] {
            #expect(throws: StageBuild.UsageError.self) { try places(wrong) }
        }
    }

    @Test("The list of buildpacks is read as it is written, and names that lead elsewhere are refused")
    func list() throws {
        let list = BuildpackList([
            .init(key: "k", name: "n", skipsDetect: true, directory: "d", source: "sha256:00"),
            .init(key: "k2", name: "n", skipsDetect: false, directory: "d2", source: ""),
        ])
        #expect(BuildpackList(json: try JSONValue(parsing: list.json.canonicalText)) == list)
        for directory in ["..", "a/b", "", ".hidden"] {
            #expect(BuildpackList(json: [["key": "k", "name": "n", "directory": .string(directory)]]) == nil)
        }
    }
}

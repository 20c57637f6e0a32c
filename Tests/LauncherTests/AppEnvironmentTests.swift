import JSON
import Testing

@testable import Launcher

@Suite("The environment of an app")
struct AppEnvironmentTests {
    private func environment(_ entries: [SystemText]) -> Environment {
        AppEnvironment(from: Environment(entries), layout: .standard) { "fresh-guid" }.environment
    }

    @Test("An empty environment gets every variable that an app may count on")
    func fromNothing() {
        let entries = environment([]).entries.map(\.display).sorted()
        #expect(
            entries == [
                "CF_INSTANCE_ADDR=0.0.0.0:8080", "CF_INSTANCE_GUID=fresh-guid", "CF_INSTANCE_INDEX=0",
                "CF_INSTANCE_PORT=8080", #"CF_INSTANCE_PORTS=[{"external":8080,"internal":8080}]"#,
                "DEPS_DIR=/home/vcap/deps", "HOME=/home/vcap/app", "INSTANCE_GUID=fresh-guid", "INSTANCE_INDEX=0",
                "LANG=en_US.UTF-8", "PATH=/usr/local/bin:/usr/bin:/bin", "PORT=8080", "PWD=/home/vcap/app",
                "TMPDIR=/home/vcap/tmp", "USER=vcap", "VCAP_APP_HOST=0.0.0.0", "VCAP_APP_PORT=8080",
            ])
    }

    @Test(
        "A variable follows from what the container was started with",
        arguments: [
            // The launcher's own, whatever was set.
            (["HOME=/root"], "HOME", "/home/vcap/app"),
            (["TMPDIR=/tmp"], "TMPDIR", "/home/vcap/tmp"),
            (["DEPS_DIR=/x"], "DEPS_DIR", "/home/vcap/deps"),
            // Defaults.
            (["LANG=C"], "LANG", "C"),
            (["USER=me"], "USER", "me"),
            (["PATH=/opt"], "PATH", "/opt"),
            (["PORT="], "PORT", "8080"),
            (["PORT=9000"], "VCAP_APP_PORT", "9000"),
            (["PORT=9000"], "CF_INSTANCE_ADDR", "0.0.0.0:9000"),
            (["PORT=9000"], "CF_INSTANCE_PORTS", #"[{"external":9000,"internal":9000}]"#),
            (["PORT=http"], "CF_INSTANCE_PORTS", nil),
            (["CF_INSTANCE_PORTS=[]"], "CF_INSTANCE_PORTS", "[]"),
            (["VCAP_APP_HOST=::"], "VCAP_APP_HOST", "::"),
            (["CF_INSTANCE_IP=10.0.0.1"], "CF_INSTANCE_IP", "10.0.0.1"),
            ([], "CF_INSTANCE_IP", nil),
            // The instance's guid.
            (["CF_INSTANCE_GUID=a"], "INSTANCE_GUID", "a"),
            (["INSTANCE_GUID=b"], "CF_INSTANCE_GUID", "b"),
            (["CF_INSTANCE_GUID=a", "INSTANCE_GUID=b"], "INSTANCE_GUID", "b"),
            (["VCAP_PLATFORM_OPTIONS={}"], "VCAP_PLATFORM_OPTIONS", nil),
            (["DATABASE_URL=mine"], "DATABASE_URL", "mine"),
            (["DATABASE_URL=mine", "VCAP_SERVICES={}"], "DATABASE_URL", "mine"),
            (["START_COMMAND=x"], "START_COMMAND", "x"),
        ] as [([SystemText], String, String?)])
    func variable(entries: [SystemText], name: String, expected: String?) {
        #expect(environment(entries)[name] == expected)
    }

    @Test(
        "The instance's index is the pod's ordinal",
        arguments: [
            (["POD_NAME=app-3"], "3"), (["POD_NAME=my-app-space-0a1b-12"], "12"),
            (["POD_NAME=app-3", "CF_INSTANCE_INDEX=5"], "3"),
            (["POD_NAME=app-x7k2f", "CF_INSTANCE_INDEX=5"], "5"),
            (["POD_NAME=app-03"], "0"), (["POD_NAME=app-+3"], "0"), (["POD_NAME=7"], "0"), (["POD_NAME=app--1"], "1"),
            (["POD_NAME=app-99999999999"], "0"), (["INSTANCE_INDEX=4"], "4"), ([], "0"),
            (["HOSTNAME=app-6"], "0"), (["HOSTNAME=app-6", "KUBERNETES_SERVICE_HOST=10.0.0.1"], "6"),
            (["HOSTNAME=app-6", "KUBERNETES_SERVICE_HOST=10.0.0.1", "INSTANCE_INDEX=2"], "2"),
        ] as [([SystemText], String)])
    func index(entries: [SystemText], expected: String) {
        let environment = environment(entries)
        #expect(environment["CF_INSTANCE_INDEX"] == expected)
        #expect(environment["INSTANCE_INDEX"] == expected)
    }

    @Test("VCAP_APPLICATION tells of this instance and keeps everything else, numbers digit for digit")
    func application() throws {
        let text = #"{"limits":{"mem":1e3},"name":"a<b>","host":"old","port":1,"big":12345678901234567890}"#
        let rewritten = environment([
            SystemText("VCAP_APPLICATION=" + text), "PORT=9000", "POD_NAME=a-2", "INSTANCE_GUID=g",
        ])["VCAP_APPLICATION"]
        #expect(
            rewritten == #"{"big":12345678901234567890,"host":"0.0.0.0","instance_id":"g","instance_index":2,"#
                + #""limits":{"mem":1e3},"name":"a<b>","port":9000}"#)
    }

    @Test("A port that is no number leaves VCAP_APPLICATION's port as it was")
    func applicationWithoutPort() {
        let rewritten = environment([#"VCAP_APPLICATION={"port":1}"#, "PORT=http"])["VCAP_APPLICATION"]
        #expect(
            rewritten == #"{"host":"0.0.0.0","instance_id":"fresh-guid","instance_index":0,"port":1}"#)
    }

    @Test(
        "VCAP_APPLICATION that is no JSON object stays as it is", arguments: ["", "{", "[]", "null", #"{"a":1,"a":2}"#])
    func applicationOtherwise(text: String) {
        #expect(environment([SystemText("VCAP_APPLICATION=" + text)])["VCAP_APPLICATION"] == text)
    }

    @Test("CredHub references are not silently left alone")
    func credHub() {
        func warnings(_ options: String) -> [String] {
            let base = Environment([SystemText("VCAP_PLATFORM_OPTIONS=" + options)])
            return AppEnvironment(from: base, layout: .standard) { "" }.warnings
        }
        #expect(warnings(#"{"credhub-uri":"https://credhub.example"}"#).count == 1)
        #expect(!warnings(#"{"credhub-uri":"https://credhub.example"}"#)[0].contains("example"))
        #expect(warnings("{}").isEmpty)
        #expect(warnings("garbage").isEmpty)
    }

    @Test("A guid is a version 4 UUID")
    func guid() {
        #expect(GUID.text(Array(0..<16)) == "00010203-0405-4607-8809-0a0b0c0d0e0f")
        #expect(GUID.text([UInt8](repeating: 0xFF, count: 16)) == "ffffffff-ffff-4fff-bfff-ffffffffffff")
    }
}

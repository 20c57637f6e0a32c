import Testing

@testable import Launcher

@Suite("Text of the system")
struct SystemTextTests {
    @Test(
        "A path becomes absolute without . and ..",
        arguments: [
            ("app", "/home/vcap", "/home/vcap/app"), ("/a//b/", "/x", "/a/b"),
            ("../tmp", "/home/vcap/app", "/home/vcap/tmp"),
            ("./a/./b", "/", "/a/b"), ("../../..", "/a", "/"), (".", "/home/vcap/app", "/home/vcap/app"),
        ])
    func absolute(path: String, directory: String, expected: String) {
        #expect(SystemText(path).absolute(from: SystemText(directory)) == SystemText(expected))
    }

    @Test("Bytes that are no UTF-8 stay as they are, and have no text")
    func otherEncodings() {
        let text = SystemText(bytes: [0x61, 0xFF])
        #expect((text + "b").bytes == [0x61, 0xFF, 0x62])
        #expect(text.string == nil)
    }

    @Test("Text ends at the first NUL")
    func nul() { #expect(SystemText("a\0b") == "a") }

    @Test("The order is that of the bytes, whatever the locale")
    func order() {
        let names: [SystemText] = ["a", "B", "0_python.sh", "000_multi-supply.sh", "10_b", "9_a"]
        #expect(names.sorted() == ["000_multi-supply.sh", "0_python.sh", "10_b", "9_a", "B", "a"])
    }
}

@Suite("The variables of a process")
struct EnvironmentTests {
    @Test("A variable keeps its place when it is set, and loses its doubles")
    func set() {
        var environment = Environment(["A=1", "B=2", "A=3"])
        environment["A"] = "4"
        #expect(environment.entries == ["A=4", "B=2"])
    }

    @Test("A name is matched whole")
    func names() {
        var environment = Environment(["PORTAL=1"])
        environment.setDefault("PORT", "8080")
        #expect(environment["PORT"] == "8080")
        #expect(environment["PORTAL"] == "1")
    }

    @Test("A default leaves what is set to nothing alone")
    func defaults() {
        var environment = Environment(["CF_INSTANCE_PORT="])
        environment.setDefault("CF_INSTANCE_PORT", "8080")
        #expect(environment["CF_INSTANCE_PORT"] == "")
    }

    @Test("Entries that nobody asked for keep their bytes")
    func untouched() {
        let odd = SystemText(bytes: Array("X=".utf8) + [0xC3])
        var environment = Environment([odd, "no-equals-sign"])
        environment["Y"] = "1"
        environment["X_"] = nil
        #expect(environment.entries == [odd, "no-equals-sign", "Y=1"])
        #expect(environment["X"] == nil)
    }
}

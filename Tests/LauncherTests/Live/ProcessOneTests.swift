import Foundation
import Testing

@Suite("launch as process 1")
struct ProcessOneTests {
    @Test(
        "A signal reaches the app, whose exit code becomes launch's",
        arguments: ["TERM", "INT", "HUP", "QUIT", "USR1", "USR2", "WINCH", "CONT", "ALRM"])
    func forwards(signal: String) throws {
        let root = try TinyRoot()
        let app = "trap 'echo got \(signal); exit 5' \(signal); kill -\(signal) 1; while :; do sleep 0.05; done"
        let command = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": app])
        #expect(command.output == "got \(signal)\n")
        #expect(command.exitCode == 5)
    }

    @Test("SIGTERM reaches grandchildren, and they may finish although their shell died of it")
    func grandchildren() throws {
        let root = try TinyRoot()
        // The grandchild goes on only after its parent was reaped, and then needs a few processes to finish.
        try root.write(
            "app/worker.sh",
            """
            parent=$PPID
            finish() {
                while kill -0 $parent 2>/dev/null; do :; done
                for step in 1 2 3 4 5; do ls / >/dev/null; done
                echo finished
                exit 0
            }
            trap finish TERM
            echo started
            kill -TERM 1
            while :; do sleep 0.05; done
            """)
        let command = try root.runAsProcessOne(["/lifecycle/launch", "sh ./worker.sh & wait"])
        #expect(command.lines == ["started", "finished"])
        #expect(command.exitCode == 143)
    }

    @Test("A crash of the app ends everything at once: nobody waits for what it left behind")
    func crash() throws {
        let root = try TinyRoot()
        let command = try root.runAsProcessOne(["/lifecycle/launch", "(trap '' TERM; sleep 60) & kill -SEGV $$"])
        #expect(command.exitCode == 139)
    }

    @Test(
        "The app's end is launch's exit code",
        arguments: [
            ("exit 0", 0), ("exit 3", 3), ("exit 255", 255), ("kill -TERM $$", 143), ("kill -KILL $$", 137),
            ("nowhere", 127), ("./data", 126), ("/home", 126),
        ] as [(String, Int32)])
    func exitCodes(app: String, exitCode: Int32) throws {
        let root = try TinyRoot()
        try root.write("app/data", "text")
        let command = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": app])
        #expect(command.exitCode == exitCode)
    }

    @Test(
        "A program that can't be executed is named, and told from one that is missing",
        arguments: [("nowhere", 127, "No such file"), ("./data", 126, "denied"), ("/bin/lost", 127, "interpreter")]
            as [(String, Int32, String)])
    func notExecutable(program: String, exitCode: Int32, word: String) throws {
        let root = try TinyRoot()
        try root.write("app/data", "text")
        try root.writeScript("lost", "#!/bin/python7\n")
        try root.link("bin/lost", to: "/home/vcap/lost")
        let command = try root.runAsProcessOne(["/lifecycle/launch", "--", program])
        #expect(command.exitCode == exitCode)
        #expect(command.errors.hasPrefix("launch: \(program): "))
        #expect(command.errors.contains(word))
    }

    @Test("Orphans are reaped while the app runs")
    func orphans() throws {
        let root = try TinyRoot()
        let app = """
            for orphan in 1 2 3 4 5 6 7 8 9 10; do sh -c 'true & true & true &'; done
            tries=0
            while [ $tries -lt 200 ]; do
                zombies=$(cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.Z')
                # The shell expands this by itself: what counts must not be counted.
                set -- /proc/[0-9]*
                [ $zombies = 0 ] && [ $# = 2 ] && echo clean && exit 0
                tries=$((tries + 1))
                sleep 0.02
            done
            echo $zombies zombies, $# processes
            """
        let command = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": app], withProc: true)
        #expect(command.output == "clean\n")
    }

    @Test("The app leads a session and a process group of its own")
    func session() throws {
        let root = try TinyRoot()
        let app = "cut -d' ' -f5,6 /proc/$$/stat"
        let command = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": app], withProc: true)
        #expect(command.output == "2 2\n")
    }

    @Test("The app gets the terminal that launch was started on, so that a shell in it has job control")
    func terminal() throws {
        let root = try TinyRoot()
        try root.link("bin/setsid", to: "busybox")
        let start = [
            "unshare --pid --fork --kill-child --mount-proc --root=\(root.url.path(percentEncoded: false))",
            "setsid -c /lifecycle/launch 'cut -d\" \" -f6,7 /proc/$$/stat'",
        ]
        let command = try Command(
            ["/usr/bin/script", "-qec", start.joined(separator: " "), "/dev/null"],
            environment: ["PATH": "/usr/bin:/bin"], directory: root.url)
        let fields = command.output.split(whereSeparator: \.isWhitespace)
        #expect(fields.first == "2")
        // The number of the controlling terminal; 0 where there is none.
        #expect(fields.count == 2 && fields.last != "0", "\(command.output) \(command.errors)")
    }

    @Test("The app has all signals at their defaults, whatever launch was started with")
    func signalDefaults() throws {
        let root = try TinyRoot()
        let show = "exec /lifecycle/launch -- grep -E '^Sig(Blk|Ign)' /proc/self/status"
        let command = try root.runAsProcessOne(
            ["/bin/sh", "-c", "trap '' TERM PIPE CHLD; \(show)"], withProc: true)
        let masks = try command.lines.map { line in
            try #require(UInt64(line.suffix(16), radix: 16), "\(line)")
        }
        // 32 and 33 are the C library's own.
        #expect(masks.map { $0 & ~(3 << 31) } == [0, 0])
    }

    @Test("It sleeps while nothing happens")
    func sleeps() throws {
        let root = try TinyRoot()
        // Once it may still be on its way to sleep.
        let app = """
            switches() { grep ^voluntary /proc/1/status | cut -f2; }
            before=$(switches); sleep 0.5; after=$(switches)
            [ $((after - before)) -le 1 ] && echo asleep || echo woke up $((after - before)) times
            """
        let command = try root.runAsProcessOne(["/lifecycle/launch"], ["START_COMMAND": app], withProc: true)
        #expect(command.output == "asleep\n")
    }

    @Test("It runs without /proc and as an unprivileged user")
    func unprivileged() throws {
        let root = try TinyRoot()
        let command = try root.runAsProcessOne(
            ["/lifecycle/launch"], ["START_COMMAND": "id -u; id -g; echo ${SWIFT_ROOT:-none}; ls /proc | wc -l"],
            user: 2000)
        #expect(command.lines == ["2000", "2000", "none", "0"])
    }
}

import Foundation
import Glibc
import OCI

/// Programs in a directory with their own loader and libraries. They start on any root filesystem, an empty one included,
/// and use nothing of it: `DIR/lib/ld.so --inhibit-cache --library-path DIR/lib DIR/PROGRAM ARGUMENT…`.
package struct ProgramBundle {
    private let programs: [String]
    /// The loader, as `ld.so`, and the libraries, by the names that the programs ask for.
    private let libraries: [String: String]

    /// - Parameter programs: paths of programs that are linked dynamically, each with a name of its own.
    /// - Throws: `.isolation` if a program can't be run here, or lacks a library.
    package init(of programs: [String]) throws(SandboxError) {
        self.programs = programs
        var libraries: [String: String] = [:]
        for program in programs { libraries.merge(try Self.libraries(of: program)) { first, _ in first } }
        self.libraries = libraries
    }

    /// A text that changes with the files: 32 hexadecimal digits.
    var identity: String {
        get throws(SandboxError) {
            var description = ""
            let libraries = libraries.sorted { $0.key < $1.key }.map { (name: $0.key, path: $0.value) }
            for (name, path) in programs.map({ (name: "", path: $0) }) + libraries {
                var status = stat()
                guard stat(path, &status) == 0 else { throw .system(path, errno) }
                description += "\(name) \(path) \(status.st_ino) \(status.st_size) \(status.st_mtim.tv_sec)."
                description += "\(status.st_mtim.tv_nsec)\n"
            }
            return String(Digest.of(Array(description.utf8)).hex.prefix(32))
        }
    }

    /// Copies everything into a new directory, which whoever runs the programs can read, whatever this process's umask is.
    /// - Throws: `.system`, or `.isolation` if something can't be copied.
    package func copy(to directory: String) throws(SandboxError) {
        for directory in [directory, directory + "/lib"] {
            guard mkdir(directory, 0o755) == 0 else { throw .system(directory, errno) }
            chmod(directory, 0o755)
        }
        for program in programs {
            try Self.copy(program, to: directory + "/" + (program.split(separator: "/").last ?? ""))
        }
        for (name, path) in libraries { try Self.copy(path, to: "\(directory)/lib/\(name)") }
    }

    /// Copies a program by another process: what this one starts meanwhile could inherit the open file, and a file that is
    /// open for writing can't be executed.
    static func copy(_ program: String, to path: String) throws(SandboxError) {
        try Sandbox.call("cp", ["-L", "--", program, path])
        chmod(path, 0o755)
    }

    /// What one program needs (ld.so(8)).
    private static func libraries(of program: String) throws(SandboxError) -> [String: String] {
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: program)
        process.environment = ["LD_TRACE_LOADED_OBJECTS": "1"]
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        do { try process.run() } catch { throw .isolation("\(program) can't be run") }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        var libraries: [String: String] = [:]
        for line in text.split(separator: "\n") {
            // "NAME => PATH (ADDRESS)", and the loader's own path alone.
            let words = line.split(whereSeparator: \.isWhitespace)
            if words.count >= 3, words[1] == "=>" {
                guard words[2].hasPrefix("/") else {
                    throw .isolation("\(program) needs \(words[0]), which is missing")
                }
                libraries[String(words[0])] = String(words[2])
            } else if let path = words.first, path.hasPrefix("/") {
                libraries["ld.so"] = String(path)
            }
        }
        guard process.terminationStatus == 0, libraries["ld.so"] != nil else {
            throw .isolation("the libraries of \(program) can't be found out")
        }
        return libraries
    }
}

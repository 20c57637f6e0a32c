import ArgumentParser
import Foundation
import Images
import OCI
import OperatorModel
import Rootfs
import Transfer

extension RootfsCommand {
    struct Import: AsyncParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Bring in a root filesystem: a tar, or an image.",
            discussion: """
                SOURCE is a tar archive of the files (plain, gzip, zstd, xz or bzip2), an OCI layout (a directory, or a \
                tar of one), a docker-archive (docker save), or an image of another registry by its digest, \
                docker://HOST[:PORT]/NAME@sha256:…. - reads an archive from standard input; what comes through a pipe is \
                copied to TMPDIR (or /var/tmp) first, at most 16 GiB.
                """)

        @OptionGroup var server: ServerOptions
        @OptionGroup(title: "Other registries") var other: SourceOptions
        @Option(help: "The stack it belongs to.") var stack: String
        @Option(help: "The new version's name.") var version: String
        @Option(help: "The SHA-256 that the file must have.") var sha256: String?
        @Option(help: "The digest of the image that is meant, where a layout or an archive has several.")
        var digest: String?
        @Option(help: "Its architecture: amd64 or arm64.") var arch = "amd64"
        @Option(help: "What it is for: apps run on it, or builds run in it.") var kind = KindName.run
        @Option(help: "The shell that apps are started with.") var shell: String?
        @Option(help: "A file with its signature, by a key that the server trusts (openssl, minisign).")
        var signature: String?
        @Flag(help: "Make it the stack's current version.") var promote = false
        @Argument(help: "A tar archive, an OCI layout, a docker-archive, docker://… or -.") var source: String

        func validate() throws {
            guard (try? StackName(stack)) != nil, (try? VersionName(version)) != nil else {
                throw ValidationError(
                    """
                    '\(printable(stack))' and '\(printable(version))' can't be a stack and a version: they take at most \
                    63 letters, digits, '.', '_' and '-', and no version is called 'current'.
                    """)
            }
            guard digest.map({ (try? Digest(parsing: $0)) != nil }) ?? true else {
                throw ValidationError("--digest takes sha256: and 64 hexadecimal digits.")
            }
            guard kind == .run || !promote else {
                throw ValidationError("What builds run in can't be promoted: leave --promote out.")
            }
            guard !other.isHalf else {
                throw ValidationError("--source-user and --source-password-file go together.")
            }
            guard isRemote || other.isEmpty else {
                throw ValidationError("--source-user, --source-ca and --plain-http are for docker://… only.")
            }
            guard !isRemote || digest == nil else {
                throw ValidationError("docker://… has its digest in it: leave --digest out.")
            }
        }

        private var isRemote: Bool { ImageLocation.isLocation(source) }

        func run() async throws {
            if isRemote {
                try await sendRemote(try ImageLocation(parsing: source))
            } else if LayoutDirectory.isThere(source) {
                try await send(layout: LayoutDirectory(path: source))
            } else {
                try await send(try UploadFile.input(source))
            }
        }

        private func sendRemote(_ location: ImageLocation) async throws {
            try refuseSHA256()
            try await RegistryClient.with(location, try other.access()) { registry in
                let image = try await registry.image(architecture: arch)
                let stream = try ImageStream(image) { .remote(registry.blob($0)) }
                try await send(
                    stream, stream.length, .oci,
                    ["digest": location.digest.description, "name": location.description])
            }
        }

        private func send(layout: LayoutDirectory) async throws {
            try refuseSHA256()
            let image = try await layout.image(architecture: arch, digest: digest.flatMap { try? Digest(parsing: $0) })
            let stream = try ImageStream(image) { .file(try layout.layer($0)) }
            try await send(
                stream, stream.length, .oci, ["digest": image.digest.description, "name": baseName])
        }

        private func send(_ file: UploadFile) async throws {
            let sum = try file.digest(.sha256)
            if let sha256, sha256.lowercased() != sum.hex {
                throw TransferError.file(
                    path: file.path, reason: "its SHA-256 is \(sum.hex), not the one given: fetch it again")
            }
            let form = await SourceForm.detect(file)
            var query = ["sha256": sum.hex]
            if file.isNamed { query["name"] = baseName }
            if let digest {
                guard form != .tar else {
                    throw TransferError.file(path: file.path, reason: "it is no image, so --digest does not fit")
                }
                query["digest"] = digest
            }
            try await send(file.chunks, file.size, form, query)
        }

        private func refuseSHA256() throws {
            guard sha256 == nil else {
                throw TransferError.configuration("--sha256 is for a file; this image is known by its digest")
            }
        }

        private var baseName: String { String(source.split(separator: "/").last ?? "") }

        private func send<Bytes: AsyncSequence & Sendable>(
            _ bytes: Bytes, _ length: Int64, _ form: SourceForm, _ query: [String: String]
        ) async throws where Bytes.Element == [UInt8] {
            var query: [String: String?] = query
            query["arch"] = arch
            query["shell"] = shell
            query["kind"] = kind == .run ? nil : kind.rawValue
            query["promote"] = promote ? "true" : nil
            let path = apiPath("rootfs", stack, version, query: query)
            let body = UploadBody(
                bytes, length: length, contentType: form.contentType, headers: try signatureHeader())
            let bar = ProgressBar("importing \(version)", total: length)
            try await server.ask { (client) -> Version in
                defer { bar.clear() }
                let imported: Version = try await client.upload(body, to: path) { bar.show($0) }
                guard let id = imported.operation else { return imported }
                bar.clear()
                return try await client.follow(try await client.send(.get, apiPath("operations", id))).result()
            } print: { imported in
                let what = form == .tar ? "file" : "image"
                let signer = imported.signedBy.map { ", signed by \($0)" } ?? ""
                return printable(
                    "imported \(stack) \(version) (\(arch)\(kind == .build ? ", for builds" : "")), \(byteCount(length)), \(what) \(imported.source)\(signer)"
                )
                    + "\n"
                    + (kind == .build
                        ? "builds for \(stack) \(version) run in it: `cistern stage APP_DIR --stack \(stack)`\n"
                        : imported.current
                            ? "it is the current version of \(stack)\n"
                            : "next: `cistern rootfs promote --stack \(stack) --version \(version)`\n")
            }
        }

        /// The header with the signature file in Base64; no header without a signature.
        private func signatureHeader() throws -> [String: String] {
            guard let signature else { return [:] }
            let file = try UploadFile(path: signature)
            guard file.size <= 8 << 10 else {
                throw TransferError.file(path: signature, reason: "it is too large for a signature")
            }
            return ["Cistern-Signature": Base64.encode(try file.bytes())]
        }
    }
}

import CLinux
import Glibc
import JSON
import NIOHTTP1
import OCI
package import Staging

/// The last step of a staging task: sends the droplet and the build cache, and reports the result.
///
/// What the build left is a stranger's: files are opened by `UploadFile.made`, the result is read up to a bound and
/// made anew from what of it is known (`StagedResult`), and what the buildpacks are comes from the list that download
/// wrote.
package struct UploadStep: Sendable {
    package struct Limits: Sendable {
        /// Bytes of the droplet.
        package var droplet: Int64 = 8 << 30
        /// Bytes of the build cache.
        package var cache: Int64 = 8 << 30
        /// Bytes of result.json.
        package var result = 1 << 20

        package init() {}
    }

    private let files: StagingFiles
    private let client: TaskClient
    private let limits: Limits
    private let form: UploadForm
    private let droplet: TransferURL
    private let cache: TransferURL?
    private let report: Report?
    private let log: @Sendable (String) -> Void

    /// How the result is told.
    private enum Report {
        /// `PUT /stage/<guid>/completed`, as the predecessor's steps did to the one that had started them.
        case service(TransferURL, guid: String, callback: String?)
        /// `POST` to the controller's callback.
        case callback(TransferURL)
        /// A new file, for who started the step on the same machine; it has what `PUT` would send.
        case file(String, guid: String)
    }

    /// - Parameters:
    ///   - variables: `DROPLET_UPLOAD_URL`, and where there is one `BUILDPACK_CACHE_UPLOAD_URI`. The result goes to
    ///     `STAGING_COMPLETED_URL`, or `EIRINI_ADDRESS/stage/STAGING_GUID/completed`, by PUT; without either to
    ///     `COMPLETION_CALLBACK`, by POST; without any of them nowhere.
    ///   - reportFile: a new file that gets the result instead.
    ///   - log: gets lines for people, which hold no secrets.
    /// - Throws: `TransferFailure`, `.invalid`.
    package init(
        _ variables: TaskVariables, files: StagingFiles, client: TaskClient, form: UploadForm = .put,
        limits: Limits = Limits(), reportFile: String? = nil, log: @escaping @Sendable (String) -> Void
    ) throws(TransferFailure) {
        guard let droplet = try variables.url("DROPLET_UPLOAD_URL") else {
            throw TransferFailure(.invalid, "DROPLET_UPLOAD_URL is missing: it says where the droplet goes")
        }
        self.files = files
        self.client = client
        self.limits = limits
        self.form = form
        self.droplet = droplet
        self.log = log
        cache = try variables.url("BUILDPACK_CACHE_UPLOAD_URI")
        let guid = variables["STAGING_GUID"]
        let callback = variables["COMPLETION_CALLBACK"]
        if let reportFile {
            report = .file(reportFile, guid: guid ?? "")
        } else if let url = try variables.url("STAGING_COMPLETED_URL") {
            report = .service(url, guid: guid ?? "", callback: callback)
        } else if let address = variables["EIRINI_ADDRESS"] {
            guard let guid, guid.utf8.count <= 200,
                guid.allSatisfy({ $0.isASCII && ($0.isLetter || $0.isNumber || "-_.".contains($0)) })
            else { throw TransferFailure(.invalid, "STAGING_GUID is missing, or is no guid") }
            let base = address.hasSuffix("/") ? String(address.dropLast()) : address
            report = .service(try TransferURL("\(base)/stage/\(guid)/completed"), guid: guid, callback: callback)
        } else {
            report = try variables.url("COMPLETION_CALLBACK").map { .callback($0) }
        }
    }

    /// Sends what there is. If the droplet can't be sent, that is reported as the task's failure, and thrown.
    /// - Throws: `TransferFailure`, `CancellationError`.
    package func run() async throws {
        let (result, upload): (StagedResult, Upload)
        do {
            result = try readResult()
            guard let file = try UploadFile.made("droplet.tgz", in: files.output, limit: limits.droplet) else {
                throw TransferFailure(.file, "the build left no droplet.tgz in \(files.output)")
            }
            upload = try Upload(file)
            try await client.upload(upload, to: droplet, as: form, headers: buildpacks(result), log: log)
            log("droplet: \(upload.size) bytes, \(upload.digest)")
        } catch let error as TransferFailure {
            await tell(failure: error)
            throw error
        }
        await sendCache()
        try await tell(result, upload)
    }

    /// What Cistern is told of the buildpacks that made the droplet; any other server does not look at it.
    private func buildpacks(_ result: StagedResult) -> [(String, String)] {
        let used = result.used
        if used.isEmpty { return [] }
        let text = JSONValue.array(used).canonicalText
        guard used.count <= 32, text.utf8.count <= 4 << 10 else {
            log("warning: the droplet's buildpacks are not told: there are too many")
            return []
        }
        return [("Cistern-Buildpacks", text)]
    }

    /// The next build without its cache takes longer, and that is all: no failure here is the task's.
    private func sendCache() async {
        guard let cache else { return }
        do {
            guard let file = try UploadFile.made("cache.tgz", in: files.output, limit: limits.cache) else {
                return log("build cache: there is none")
            }
            let upload = try Upload(file)
            try await client.upload(upload, to: cache, as: form, log: log)
            log("build cache: \(upload.size) bytes")
        } catch {
            log("warning: the build cache is not kept: \(error)")
        }
    }

    private func readResult() throws(TransferFailure) -> StagedResult {
        let bytes = try StepFiles.read(files.buildpackList, limit: 4 << 20)
        guard let json = try? JSONValue(parsing: bytes), let list = BuildpackList(json: json) else {
            throw TransferFailure(.invalid, "\(files.buildpackList) is no list of buildpacks: run stage-download first")
        }
        guard let file = try UploadFile.made("result.json", in: files.output, limit: Int64(limits.result)) else {
            throw TransferFailure(.file, "the build left no result.json in \(files.output)")
        }
        let text: [UInt8]
        do { text = try file.bytes() } catch { throw TransferFailure(.file, "\(error)") }
        guard let document = try? JSONValue(parsing: text), let result = StagedResult(document, buildpacks: list) else {
            throw TransferFailure(.corrupt, "\(files.result) is not what a build writes")
        }
        return result
    }

    // MARK: Telling

    private func tell(_ result: StagedResult, _ droplet: Upload) async throws {
        func members(_ guid: String, _ callback: String?) -> JSONValue {
            var members = Self.response(guid, callback)
            members["failed"] = .bool(false)
            members["result"] = .string(result.json.canonicalText)
            // What was sent, and which archives and commits the buildpacks were: the predecessor's answer had no place
            // for these.
            members["buildpacks"] = result.buildpacks.json
            members["droplet"] = [
                "digest": .string(droplet.digest.description), "size": .integer(droplet.size),
            ]
            return .object(members)
        }
        switch report {
        case nil: return
        case .file(let path, let guid): try StepFiles.write(members(guid, nil).canonicalBytes, to: path)
        case .service(let url, let guid, let callback):
            try await deliver(members(guid, callback), isPut: true, to: url)
        case .callback(let url): try await deliver(["result": result.json], isPut: false, to: url)
        }
    }

    private func tell(failure: TransferFailure) async {
        do {
            switch report {
            // Who started the step on this machine sees how it ends.
            case nil, .file: return
            case .service(let url, let guid, let callback):
                var members = Self.response(guid, callback)
                members["failed"] = .bool(true)
                members["failure_reason"] = .string(failure.description)
                try await deliver(.object(members), isPut: true, to: url)
            case .callback(let url):
                let error: JSONValue = ["id": "StagingError", "message": .string(failure.description)]
                try await deliver(["error": error], isPut: false, to: url)
            }
        } catch {
            log("warning: the failure can't be reported: \(error)")
        }
    }

    /// What every completion has. The controller answers 500 to one without `created_at`, which is in nanoseconds.
    private static func response(_ guid: String, _ callback: String?) -> JSONObject {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        let annotation: JSONValue = .object(callback.map { ["completion_callback": .string($0)] } ?? [:])
        return [
            "task_guid": .string(guid), "failure_reason": "", "result": "",
            "annotation": .string(annotation.canonicalText),
            "created_at": .integer(Int64(now.tv_sec) * 1_000_000_000 + Int64(now.tv_nsec)),
        ]
    }

    /// Sends a completion. One that comes again after the task's final state is refused as an invalid request: then an
    /// earlier one has arrived.
    private func deliver(_ json: JSONValue, isPut: Bool, to url: TransferURL) async throws {
        do {
            try await client.send(json, isPut ? .PUT : .POST, to: url, log: log)
        } catch let error as TransferFailure
            where error.kind == .refused && error.description.contains("InvalidRequest")
        {
            log("the result had been reported before")
        }
    }
}

/// What a build says of itself, as far as it is believed: members that are known, of the right types, about buildpacks
/// of the task.
struct StagedResult: Sendable {
    /// `{"lifecycle_metadata","process_types","processes"?,"sidecars"?,"execution_metadata","lifecycle_type"}`.
    let json: JSONValue
    let buildpacks: BuildpackList
    /// The buildpacks that ran: `{"name","version"?,"source"?}`. Which ones, and their versions, are the build's word;
    /// names and sources are what download wrote down. What Cistern would not take of it is left out.
    let used: [JSONValue]

    /// Nil if the document can't be a build's.
    init?(_ document: JSONValue, buildpacks: BuildpackList) {
        guard let types = document["process_types"]?.object, types.values.allSatisfy({ $0.string != nil }),
            let metadata = document["lifecycle_metadata"], metadata.object != nil
        else { return nil }
        let keys = Set(buildpacks.buildpacks.map(\.key))
        func text(_ value: JSONValue?) -> JSONValue { .string(value?.string ?? "") }
        var known: JSONObject = [
            "buildpack_key": text(metadata["buildpack_key"].flatMap { keys.contains($0.string ?? "") ? $0 : nil }),
            "detected_buildpack": text(metadata["detected_buildpack"]),
        ]
        if let items = metadata["buildpacks"]?.array {
            known["buildpacks"] = .array(
                items.compactMap { item in
                    guard let key = item["key"]?.string, keys.contains(key) else { return nil }
                    var members: JSONObject = ["key": .string(key), "name": text(item["name"])]
                    if let version = item["version"]?.string { members["version"] = .string(version) }
                    for name in ["config", "output_metadata"] {
                        if let value = item[name], value.object != nil { members[name] = value }
                    }
                    return .object(members)
                })
        }
        var members: JSONObject = [
            "lifecycle_metadata": .object(known), "process_types": .object(types),
            "execution_metadata": text(document["execution_metadata"]), "lifecycle_type": "buildpack",
        ]
        for name in ["processes", "sidecars"] {
            if let value = document[name] {
                guard let array = value.array, array.allSatisfy({ $0.object != nil }) else { return nil }
                members[name] = .array(array)
            }
        }
        json = .object(members)
        self.buildpacks = buildpacks
        used = (known["buildpacks"]?.array ?? []).compactMap { item in
            buildpacks.buildpacks.first { $0.key == item["key"]?.string }
                .flatMap { Self.statement($0, version: item["version"]?.string ?? "") }
        }
    }

    private static func statement(_ buildpack: BuildpackList.Buildpack, version: String) -> JSONValue? {
        func isWord(_ text: String, besides others: String) -> Bool {
            (1...256).contains(text.utf8.count)
                && text.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || others.contains($0)) }
        }
        guard isWord(buildpack.name, besides: "+._-"), buildpack.name.first.map({ $0.isLetter || $0.isNumber }) == true
        else { return nil }
        var members: JSONObject = ["name": .string(buildpack.name)]
        if isWord(version, besides: "+-.:_~") { members["version"] = .string(version) }
        let isDigest = ["sha256:": [64], "git:": [40, 64]].contains { prefix, lengths in
            buildpack.source.hasPrefix(prefix)
                && lengths.contains(buildpack.source.utf8.count - prefix.utf8.count)
                && buildpack.source.dropFirst(prefix.count).utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
        }
        if isDigest { members["source"] = .string(buildpack.source) }
        return .object(members)
    }
}

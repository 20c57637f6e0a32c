public import JSON

/// An image's configuration (OCI image specification, config.md).
public struct ImageConfig: Hashable, Sendable {
    /// When the image was made: an RFC 3339 time, in UTC where Cistern writes it.
    public var created: String?
    public var author: String?
    public var platform: Platform
    public var execution: Execution
    /// The layers' diffIDs, bottom up.
    public var diffIDs: [Digest]
    public var history: [History]
    public var other: JSONObject

    public init(
        created: String?, platform: Platform, execution: Execution, diffIDs: [Digest], history: [History]
    ) {
        self.created = created
        self.author = nil
        self.platform = platform
        self.execution = execution
        self.diffIDs = diffIDs
        self.history = history
        self.other = [:]
    }

    public init(json: JSONValue) throws(OCIError) {
        var members = try Members(json, of: "the image configuration")
        created = try members.string("created")
        author = try members.string("author")
        platform = Platform(
            architecture: try members.requiredString("architecture"), os: try members.requiredString("os"),
            variant: try members.string("variant"))
        execution = try Execution(json: members.value("config") ?? .object([:]), of: members.path("config"))
        guard let files = members.value("rootfs") else { throw members.wrong("rootfs") }
        var rootfs = try Members(files, of: members.path("rootfs"))
        guard try rootfs.requiredString("type") == "layers" else {
            throw .document("\(rootfs.path("type")) is not 'layers'")
        }
        diffIDs =
            try rootfs.list("diff_ids") { (json, what) throws(OCIError) in
                guard let text = json.string else { throw .document("\(what) is not a string") }
                do { return try Digest(parsing: text) } catch { throw .document("\(what): \(error)") }
            } ?? []
        history =
            try members.list("history") { (json, what) throws(OCIError) in try History(json: json, of: what) } ?? []
        other = members.rest
    }

    public var json: JSONValue {
        var members = other
        members.set("created", created)
        members.set("author", author)
        members["architecture"] = .string(platform.architecture)
        members["os"] = .string(platform.os)
        members.set("variant", platform.variant)
        members["config"] = execution.json
        members["rootfs"] = [
            "type": "layers", "diff_ids": .array(diffIDs.map { .string($0.description) }),
        ]
        if !history.isEmpty { members["history"] = .array(history.map(\.json)) }
        return .object(members)
    }
}

extension ImageConfig {
    /// How a container of the image is started (`config`).
    public struct Execution: Hashable, Sendable {
        public var user: String?
        /// The variables as `NAME=value`, in the document's order.
        public var environment: [String]
        public var entrypoint: [String]
        public var command: [String]
        public var workingDirectory: String?
        public var labels: ByName<String>
        public var stopSignal: String?
        /// `port/protocol`.
        public var exposedPorts: Set<ExactText>
        public var other: JSONObject

        public init(
            user: String? = nil, environment: [String] = [], entrypoint: [String] = [], command: [String] = [],
            workingDirectory: String? = nil, labels: ByName<String> = [:], stopSignal: String? = nil,
            exposedPorts: Set<ExactText> = []
        ) {
            self.user = user
            self.environment = environment
            self.entrypoint = entrypoint
            self.command = command
            self.workingDirectory = workingDirectory
            self.labels = labels
            self.stopSignal = stopSignal
            self.exposedPorts = exposedPorts
            self.other = [:]
        }

        init(json: JSONValue, of what: String) throws(OCIError) {
            var members = try Members(json, of: what)
            user = try members.string("User")
            environment = try members.stringList("Env") ?? []
            entrypoint = try members.stringList("Entrypoint") ?? []
            command = try members.stringList("Cmd") ?? []
            workingDirectory = try members.string("WorkingDir")
            labels = try members.strings("Labels")
            stopSignal = try members.string("StopSignal")
            exposedPorts = Set((members.value("ExposedPorts")?.object ?? [:]).keys.map { ExactText($0) })
            other = members.rest
        }

        var json: JSONValue {
            var members = other
            members.set("User", user)
            members.set("Env", environment)
            members.set("Entrypoint", entrypoint)
            members.set("Cmd", command)
            members.set("WorkingDir", workingDirectory)
            members.set("Labels", labels)
            members.set("StopSignal", stopSignal)
            if !exposedPorts.isEmpty {
                members["ExposedPorts"] = .object(JSONObject(exposedPorts.map { ($0.text, [:]) }) { first, _ in first })
            }
            return .object(members)
        }
    }

    /// How a layer came to be (`history`).
    public struct History: Hashable, Sendable {
        public var created: String?
        public var createdBy: String?
        public var comment: String?
        public var other: JSONObject

        public init(created: String? = nil, createdBy: String? = nil, comment: String? = nil) {
            self.created = created
            self.createdBy = createdBy
            self.comment = comment
            self.other = [:]
        }

        init(json: JSONValue, of what: String) throws(OCIError) {
            var members = try Members(json, of: what)
            created = try members.string("created")
            createdBy = try members.string("created_by")
            comment = try members.string("comment")
            other = members.rest
        }

        var json: JSONValue {
            var members = other
            members.set("created", created)
            members.set("created_by", createdBy)
            members.set("comment", comment)
            return .object(members)
        }
    }
}

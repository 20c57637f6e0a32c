import Archive
import Blobs
import Droplets
import HTTPServer
import HTTPTypes
import Images
import Layers
import Logging
import Maintenance
import OCI
import OperatorModel
import Packages
import Rootfs
import Runtime

/// Rootfs versions: what is known of them, their states, removal and export.
extension OperatorAPI {
    var versionRoutes: [OperatorRoute] {
        [
            OperatorRoute(.get, "/api/v1/rootfs", "The rootfs versions of all stacks.", queries: [.kind]) { request in
                switch try request.kind() {
                case .run: Versions(versions: try rootfs.stacks.flatMap { try self.versions(of: $0) })
                case .build: Versions(versions: builds.all.map(\.buildModel))
                }
            },
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack", "A stack's rootfs versions, the youngest first.", queries: [.kind],
                refusals: [400, 404]
            ) { request in
                let stack = try request.stack()
                return switch try request.kind() {
                case .run: Versions(versions: try self.versions(of: stack))
                case .build: Versions(versions: builds.versions(stack).map(\.buildModel))
                }
            },
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack/:version", "All that is known of a version.", refusals: [400, 404]
            ) { try await details(try $0.stack(), try $0.version()) },
            OperatorRoute(
                .delete, "/api/v1/rootfs/:stack/:version",
                "Removes a version. What is current or runs stays; what one would go back to needs force.",
                queries: [
                    .init(name: "force", schema: Bool.schema, summary: "Also what one would go back to."), .kind,
                ],
                answers: [204: .nothing], refusals: [400, 404, 409]
            ) { try await remove($0) },
            OperatorRoute(
                .put, "/api/v1/rootfs/:stack/:version/state", "Says what may become of a version.",
                body: .model(StateRequest.self), answers: [200: .model(State.self)], refusals: [400, 404, 409]
            ) { .model(try await setState($0)) },
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack/:version/export",
                "A variant's layer, a tar that can be imported again. ETag: its digest.",
                queries: [.architecture, .kind],
                answers: [200: .file(["application/gzip", "application/zstd", "application/x-tar"])],
                refusals: [400, 404, 422]
            ) { try await export($0) },
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack/:version/prepull",
                "What nodes need for images on a version. Decides the form of these, as their first pull would.",
                queries: [.architecture], refusals: [400, 404, 422]
            ) { request in
                let stack = try request.stack()
                return try await images.prepull(stack, try request.version(), try request.architecture())
                    .model(stack, repository: "\(registry(request))cistern/\(stack)")
            },
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack/:version/packages", "The packages of a version.",
                queries: [.architecture], refusals: [400, 404]
            ) { try await packages($0) },
            OperatorRoute(
                .get, "/api/v1/rootfs/:stack/:version/diff",
                "What became of packages from one version to another.",
                queries: [
                    .init(name: "from", schema: String.schema, summary: "The older version.", isRequired: true),
                    .architecture,
                ], refusals: [400, 404]
            ) { try await packageChanges($0) },
        ]
    }

    func model(of variant: RootfsVersion) -> Version {
        variant.model(
            isCurrent: isCurrent(variant.stack, variant.version),
            rootfs.availability(variant.stack, variant.version))
    }

    func isCurrent(_ stack: StackName, _ version: VersionName) -> Bool { rootfs.history(stack)?.current == version }

    /// How many droplets have images on their stack's current version: those for whose architecture it has a variant.
    func dropletsOnCurrent(of stack: StackName) async throws(ImageError) -> Int {
        guard let version = rootfs.history(stack)?.current else { return 0 }
        let architectures = Set(try rootfs.versions(stack).filter { $0.version == version }.map(\.architecture))
        return try await droplets.counts()[stack, default: [:]].filter { architectures.contains($0.key) }.values
            .reduce(0, +)
    }

    private func versions(of stack: StackName) throws(ImageError) -> [Version] {
        try rootfs.versions(stack).map { model(of: $0) }
    }

    private func details(_ stack: StackName, _ version: VersionName) async throws -> VersionDetails {
        let variants = try rootfs.versions(stack).filter { $0.version == version }
        guard !variants.isEmpty else { throw ImageError.unknownVersion(stack, version) }
        let isCurrent = isCurrent(stack, version)
        var models: [Version] = []
        for variant in variants {
            var model = model(of: variant)
            model.packages = try await rootfs.packageList(of: variant)?.packages.count
            models.append(model)
        }
        return VersionDetails(
            stack: stack.text, version: version.text, current: isCurrent, state: state(stack, version),
            promotions: (rootfs.history(stack)?.promotions ?? []).filter { $0.version == version }.map(\.model),
            droplets: isCurrent ? try await dropletsOnCurrent(of: stack) : 0, versions: models)
    }

    private func setState(_ request: Request) async throws -> State {
        let (stack, version) = (try request.stack(), try request.version())
        let wanted = try await request.model(StateRequest.self)
        _ = try await rootfs.setState(
            stack, version, VersionState.Availability(wanted.state), by: request.user,
            reason: try Self.checked(reason: wanted.reason))
        request.logger.notice(
            "rootfs state",
            metadata: ["stack": "\(stack)", "version": "\(version)", "state": "\(wanted.state.rawValue)"])
        return state(stack, version)
    }

    private func state(_ stack: StackName, _ version: VersionName) -> State {
        let state = rootfs.versionState(stack, version)
        return State(
            state: rootfs.availability(stack, version).model, reason: state?.reason ?? "", at: state?.at.model,
            by: state?.by)
    }

    private func remove(_ request: Request) async throws -> Response {
        let (stack, version) = (try request.stack(), try request.version())
        switch try request.kind() {
        case .run: try await retention.remove(stack, version, force: try request.flag("force"))
        case .build: try await builds.remove(stack, version)
        }
        request.logger.notice("rootfs removed", metadata: ["stack": "\(stack)", "version": "\(version)"])
        return Response(status: .noContent)
    }

    /// Answers with the layer as it is stored.
    private func export(_ request: Request) async throws -> Response {
        let (stack, version, architecture) = (try request.stack(), try request.version(), try request.architecture())
        let kind = try request.kind()
        let variant =
            switch kind {
            case .run: try rootfs.version(stack, version, architecture)
            case .build: try builds.version(stack, version, architecture)
            }
        let (suffix, type) =
            switch variant.layers.first?.compression ?? .none {
            case .none: ("tar", "application/x-tar")
            case .gzip: ("tar.gz", "application/gzip")
            case .zstd: ("tar.zst", "application/zstd")
            }
        let blob = try await (kind == .run ? rootfs.open(variant) : builds.open(variant))
        var headers: HTTPFields = [:]
        headers[.contentDisposition] = "attachment; filename=\"\(stack)-\(version)-\(architecture).\(suffix)\""
        return .file(
            ResponseFile(blob.reader), for: request, contentType: type, tag: EntityTag(blob.blob.digest.description),
            headers: headers)
    }

    private func packages(_ request: Request) async throws -> Packages {
        let (stack, version, architecture) = (try request.stack(), try request.version(), try request.architecture())
        let list = try await rootfs.packages(stack, version, architecture)
        return Packages(
            stack: stack.text, version: version.text, architecture: architecture.model,
            manager: list.manager.rawValue,
            distribution: .init(id: list.distribution.id, version: list.distribution.version),
            complete: list.isComplete, skipped: list.skipped, packages: list.packages.map(\.model))
    }

    private func packageChanges(_ request: Request) async throws -> OperatorModel.PackageChanges {
        let former = try VersionName(try request.needed("from", "the version to compare with"))
        let (stack, version, architecture) = (try request.stack(), try request.version(), try request.architecture())
        let changes = try await rootfs.packageChanges(stack, from: former, to: version, architecture)
        return OperatorModel.PackageChanges(
            stack: stack.text, from: former.text, version: version.text, architecture: architecture.model,
            complete: changes.isComplete, added: changes.added.map(\.model), removed: changes.removed.map(\.model),
            upgraded: changes.upgraded.map(\.model), downgraded: changes.downgraded.map(\.model),
            changed: changes.changed.map(\.model), unchanged: changes.unchanged)
    }
}

extension HTTPField.Name {
    fileprivate static let contentDisposition = HTTPField.Name("Content-Disposition") ?? .contentType
}

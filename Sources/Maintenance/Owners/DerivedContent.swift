package import Blobs
import Clusters
import Droplets
package import Images
import Layers
package import OCI
package import ObjectStore
package import Records
package import Rootfs

/// Apps' droplets: their layers and the bytes that were uploaded.
package struct AppDroplets: ContentOwner {
    let images: DerivedImages
    private var droplets: DropletCatalog { images.droplets }

    package init(images: DerivedImages) { self.images = images }

    package var records: [RecordFolder] { DropletCatalog.folders }

    /// Marks what the droplets have. Of records that have not changed since the last collection its index knows that. The
    /// conversions of droplets that are gone are removed here, since to find them all droplets' names are needed.
    package func roots(_ mark: inout RootMark) async throws {
        let indexes = try await ReferenceIndex.list(.droplets, in: mark.reading)
        var new =
            mark.isDryRun ? nil : try await ReferenceIndexUpdate(.droplets, replacing: indexes, in: droplets.store)
        var old = await ReferenceIndexReader(indexes.first, in: mark.reading)
        do {
            try await droplets.forEachListing { page in
                try await roots(of: page, &mark, &old, &new)
                mark.advance()
            }
        } catch {
            await old.close()
            await new?.abort()
            throw error
        }
        await old.close()
        try await new?.finish()
        if !mark.isDryRun { try await droplets.forgetConversions(except: { mark.contains(hexadecimal: $0) }) }
    }

    private func roots(
        of page: [ObjectInfo], _ mark: inout RootMark, _ old: inout ReferenceIndexReader,
        _ new: inout ReferenceIndexUpdate?
    ) async throws {
        var found: [IndexedReferences] = []
        var unknown: [ObjectKey] = []
        for info in page {
            let name = DropletRecord.name(in: info.key)
            // So that the conversion and the bytes stay even if the record can't be read.
            if let hash = name.split(separator: "/").last { mark.insert(hexadecimal: hash) }
            if let entry = await old.entry(of: String(name), info.version) {
                found.append(entry)
            } else {
                unknown.append(info.key)
            }
        }
        // What is gone since then.
        _ = old.takePassed()
        let read = unknown.isEmpty ? [] : try await droplets.stored(unknown)
        if !read.isEmpty {
            found += read.map(IndexedReferences.init)
            found.sort { $0.marker.utf8.lexicographicallyPrecedes($1.marker.utf8) }
            new?.hasChanged = true
        }
        for references in found {
            mark.insert(keys: references.keys)
            try await new?.append(references)
        }
    }

    package func usage(_ count: QuotaCount, in reading: any ObjectStore) async throws {
        try await droplets.countUsage(count)
    }

    package func users(of digests: Set<Digest>) async throws -> [ContentUser] {
        var users: [ContentUser] = []
        try await droplets.forEachPage { page in
            for droplet in page {
                for digest in [droplet.content.digest] + droplet.content.layers.map(\.digest)
                where digests.contains(digest) {
                    users.append(ContentUser(digest, "droplet \(droplet.guid)/\(droplet.hash)"))
                }
            }
        }
        return users
    }

    /// Removes each app's droplets, except the newest ones and those that run.
    package func retire(_ retirement: inout Retirement) async throws {
        guard let count = retirement.policy.droplets, retirement.report.withheld == nil else { return }
        try await droplets.forEachApp(withMoreThan: max(count, 1)) { (guid) throws(ImageError) in
            try await retire(guid, keeping: max(count, 1), &retirement)
        }
    }

    private func retire(
        _ guid: DropletGUID, keeping count: Int, _ retirement: inout Retirement
    ) async throws(ImageError) {
        for droplet in try await droplets.droplets(of: guid).dropFirst(count) {
            guard !images.runs(droplet, retirement.running) else {
                retirement.report.pinned += 1
                continue
            }
            if !retirement.isDryRun { try await droplets.remove(guid, .sha256(droplet.hash)) }
            retirement.report.droplets.append("\(guid)/\(droplet.hash)")
        }
    }
}

extension IndexedReferences {
    /// What a droplet's record names. The version is that of the bytes that were read, not of the listing.
    fileprivate init(_ stored: StoredRecord<DropletRecord>) {
        let droplet = stored.value
        self.init(
            marker: "\(droplet.guid)/\(droplet.hash)", version: stored.version,
            keys: ([droplet.content.digest] + droplet.content.layers.map(\.digest)).map(DigestSet.key))
    }
}

/// Rootfs versions: their layers, the deltas between them, and the layer plans of images on them.
package struct RootfsVersions: ContentOwner {
    let images: DerivedImages
    private var rootfs: RootfsCatalog { images.rootfs }

    package init(images: DerivedImages) { self.images = images }

    package var records: [RecordFolder] { [RootfsCatalog.folder] }

    private var versions: [RootfsVersion] { rootfs.stacks.flatMap { (try? rootfs.versions($0)) ?? [] } }

    package func roots(_ mark: inout RootMark) async throws {
        for version in versions { mark.insert(version.layers.map(\.digest)) }
        for delta in rootfs.allDeltas { mark.insert([delta.layer.digest]) }
        for plan in rootfs.allForms { mark.insert((plan.rootfs + plan.delta).map(\.digest)) }
    }

    package func users(of digests: Set<Digest>) async throws -> [ContentUser] {
        var users: [ContentUser] = []
        for version in versions {
            for layer in version.layers where digests.contains(layer.digest) {
                users.append(
                    ContentUser(
                        layer.digest, "rootfs \(version.stack) \(version.version) (\(version.architecture))"))
            }
        }
        for delta in rootfs.allDeltas where digests.contains(delta.layer.digest) {
            users.append(
                ContentUser(
                    delta.layer.digest,
                    "rootfs delta \(delta.stack) \(delta.from) to \(delta.to) (\(delta.architecture))"))
        }
        return users
    }

    /// Removes each stack's versions, except the newest ones, the current one, rollback targets and those that run.
    package func retire(_ retirement: inout Retirement) async throws {
        guard let count = retirement.policy.rootfs, retirement.report.withheld == nil else { return }
        for stack in rootfs.stacks {
            var names: [VersionName] = []
            for variant in try rootfs.versions(stack) where !names.contains(variant.version) {
                names.append(variant.version)
            }
            // If the history can't be read the current version and the rollback targets are unknown, so nothing is
            // removed.
            do { _ = try await rootfs.storedHistory(stack) } catch ImageError.damaged { continue }
            let needed = rootfs.neededForGoingBack(stack)
            for version in names.dropFirst(max(count, 1)) where !needed.contains(version) {
                guard try await !images.runs(stack, version, retirement.running) else {
                    retirement.report.pinned += 1
                    continue
                }
                if !retirement.isDryRun { try await images.remove(stack, version) }
                retirement.report.rootfs.append("\(stack)/\(version)")
            }
        }
    }
}

/// The root filesystems that builds run in: their layers.
package struct BuildRootfsVersions: ContentOwner {
    let catalog: BuildRootfsCatalog

    package init(_ catalog: BuildRootfsCatalog) { self.catalog = catalog }

    package var records: [RecordFolder] { [BuildRootfsCatalog.folder] }

    package func roots(_ mark: inout RootMark) async throws {
        for version in catalog.all { mark.insert(version.layers.map(\.digest)) }
    }

    package func users(of digests: Set<Digest>) async throws -> [ContentUser] {
        catalog.all.flatMap { version in
            version.layers.map(\.digest).filter(digests.contains).map {
                ContentUser($0, "build rootfs \(version.stack) \(version.version) (\(version.architecture))")
            }
        }
    }

    /// Removes each stack's versions, except the newest ones. Nothing runs on them but builds, which have read theirs.
    package func retire(_ retirement: inout Retirement) async throws {
        guard let count = retirement.policy.rootfs else { return }
        for stack in Set(catalog.all.map(\.stack)) {
            var names: [VersionName] = []
            for variant in catalog.versions(stack) where !names.contains(variant.version) {
                names.append(variant.version)
            }
            for version in names.dropFirst(max(count, 1)) {
                if !retirement.isDryRun { try await catalog.remove(stack, version) }
                retirement.report.rootfs.append("\(stack)/\(version) (build)")
            }
        }
    }
}

/// Recipes: every layer that they name, and the lifecycle layers of new recipes.
package struct ImageRecipes: ContentOwner {
    let images: DerivedImages

    package init(images: DerivedImages) { self.images = images }

    package var records: [RecordFolder] { [RecipeStore.folder] }

    package func roots(_ mark: inout RootMark) async throws {
        mark.insert(images.lifecycle.values.map(\.layer.digest))
        mark.insert(images.recipes.digests)
    }

    package func users(of digests: Set<Digest>) async throws -> [ContentUser] {
        images.lifecycle.filter { digests.contains($0.value.layer.digest) }.map {
            ContentUser($0.value.layer.digest, "the lifecycle layer (\($0.key))")
        }
    }
}

/// Clusters and their reports.
package struct ClusterReports: ContentOwner {
    package init() {}

    package var records: [RecordFolder] { [ClusterCatalog.folder, RunningImages.folder] }

    /// Marks nothing: running images are derived, and retention spares what they are made of.
    package func roots(_ mark: inout RootMark) async throws {}
}

extension RootfsCatalog {
    /// The current version, the one before it, and the one that a rollback leads to.
    func neededForGoingBack(_ stack: StackName) -> Set<VersionName> {
        var versions = Set((history(stack)?.promotions ?? []).prefix(2).map(\.version))
        if let target = rollbackTarget(stack) { versions.insert(target) }
        return versions
    }
}

extension DerivedImages {
    /// Whether an image of a droplet, on any rootfs, runs or could start again.
    func runs(_ droplet: DropletRecord, _ running: RunningSet) -> Bool {
        running.hasTag(of: droplet)
            || recipes.recipes(droplet.stack, droplet.architecture).contains {
                running.has(compose($0, droplet.content))
            }
    }

    /// Whether an image on a rootfs version, or its base image, runs or could start again.
    func runs(_ stack: StackName, _ version: VersionName, _ running: RunningSet) async throws(ImageError) -> Bool {
        guard !running.isEmpty else { return false }
        let recipes = Architecture.allCases.flatMap { self.recipes.recipes(stack, $0) }.filter { $0.version == version }
        if recipes.contains(where: { running.has(composeBase($0)) }) { return true }
        for guid in running.guids(taggedOn: version) {
            // What can't be an app's guid names no droplet.
            guard let guid = try? DropletGUID(guid) else { continue }
            for droplet in try await droplets.droplets(of: guid)
            where droplet.stack == stack && running.hasTag(of: droplet, on: version) { return true }
        }
        var after: String?
        repeat {
            let page = try await droplets.list(startAfter: after, limit: 500)
            for droplet in page.records {
                let fitting = recipes.filter { droplet.fits($0) }
                if fitting.contains(where: { running.has(compose($0, droplet.content)) }) { return true }
            }
            after = page.next
        } while after != nil
        return false
    }
}

//! The chip of a board, as probe-rs describes it: found without a probe.

use agent_protocol::{BoardSpec, FirmwarePlace};
use probe_rs::config::{self, ChipFamily, MemoryRegion, Registry, RegistryError};
use probe_rs::{CoreType, Target};

use super::BoardFault;
use super::firmware::Origins;
use super::probe::chain;

/// The addresses of RAM in every Cortex-M (Armv7-M Architecture Reference Manual, B3.1).
const SRAM: std::ops::Range<u32> = 0x2000_0000..0x4000_0000;
/// Names in an error about an unknown chip.
const NEAREST: usize = 3;

/// A chip.
pub struct Chip {
    /// probe-rs's description.
    pub target: Target,
    /// The registry it comes from, which may have a description of the profile's.
    pub registry: Registry,
    /// The name of its core family: that of the firmware's file.
    pub family: &'static str,
    /// Its flash.
    pub flash: Range,
    /// Its RAM.
    pub ram: Range,
}

/// A part of the chip's memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// Its first address.
    pub from: u32,
    /// Its bytes.
    pub bytes: u32,
}

impl Chip {
    /// Finds the chip of a board among all that probe-rs and the profile describe.
    pub fn find(spec: &BoardSpec) -> Result<Self, BoardFault> {
        let mut registry = Registry::from_builtin_families();
        if !spec.description.is_empty() {
            let added = registry.add_target_family_from_yaml(&spec.description);
            added.map_err(|error| unfit(spec, &error))?;
        }
        Self::of_registry(spec, registry)
    }

    /// Reads the chip of a board from what [`Self::family_alone`] wrote: probe-rs takes as long to
    /// unpack its descriptions of all chips as the rest of a measurement.
    pub fn of_family(spec: &BoardSpec, family: &[u8]) -> Result<Self, BoardFault> {
        let mut registry = Registry::new();
        // The flash algorithms' instructions have to fit the buffer.
        let mut buffer = vec![0; family.len()];
        let read = ciborium::de::from_reader_with_buffer(family, &mut buffer);
        let family = read.map_err(|error| unfit(spec, &error))?;
        let added = registry.add_target_family(family);
        added.map_err(|error| unfit(spec, &error))?;
        Self::of_registry(spec, registry)
    }

    fn of_registry(spec: &BoardSpec, registry: Registry) -> Result<Self, BoardFault> {
        let target = match registry.get_target_by_name(&spec.chip) {
            Ok(target) if target.name.eq_ignore_ascii_case(&spec.chip) => target,
            Ok(_) | Err(RegistryError::ChipNotFound(_) | RegistryError::ChipNotUnique(..)) => {
                return Err(BoardFault::Chip {
                    name: spec.chip.clone(),
                    nearest: nearest(&registry, &spec.chip),
                });
            }
            Err(error) => return Err(unfit(spec, &error)),
        };
        let no_memory = |memory| BoardFault::NoMemory {
            chip: spec.chip.clone(),
            memory,
        };
        let mut flash = first(&target, |region| match region {
            MemoryRegion::Nvm(region) if !region.is_alias => Some(region.range.clone()),
            _ => None,
        })
        .ok_or_else(|| no_memory("flash"))?;
        let mut ram = main_ram(&target, spec.ram_origin).ok_or_else(|| no_memory("RAM"))?;
        flash.limit(spec.flash_bytes);
        ram.limit(spec.ram_bytes);
        Ok(Self {
            family: family(&target, &spec.chip)?,
            target,
            registry,
            flash,
            ram,
        })
    }

    /// Returns probe-rs's description of the chip's family without its other chips, for
    /// [`Self::of_family`].
    pub fn family_alone(&self) -> Result<Vec<u8>, BoardFault> {
        let name = &self.target.name;
        let is_it = |chip: &&config::Chip| chip.package_variants().any(|other| other == name);
        let wrong = |detail: &str| BoardFault::Description {
            chip: name.clone(),
            detail: detail.to_owned(),
        };
        let mut families = self.registry.families().iter();
        let found = families.find_map(|family| Some((family, family.variants.iter().find(is_it)?)));
        let (family, chip) = found.ok_or_else(|| wrong("its family has no such chip"))?;
        let mut flash_algorithms = family.flash_algorithms.clone();
        flash_algorithms.retain(|algorithm| chip.flash_algorithms.contains(&algorithm.name));
        let alone = ChipFamily {
            chip_detection: Vec::new(),
            variants: vec![chip.clone()],
            flash_algorithms,
            ..family.clone()
        };
        let mut bytes = Vec::new();
        ciborium::into_writer(&alone, &mut bytes).map_err(|error| wrong(&error.to_string()))?;
        Ok(bytes)
    }

    /// Returns the beginning of the first sector at or after an address of the flash.
    pub fn sector_after(&self, address: u32) -> u32 {
        let holds = |range: &std::ops::Range<u64>| range.contains(&u64::from(address));
        let algorithm = self
            .target
            .flash_algorithms
            .iter()
            .find(|algorithm| holds(&algorithm.flash_properties.address_range));
        let Some(properties) = algorithm.map(|algorithm| &algorithm.flash_properties) else {
            return address;
        };
        let base = properties.address_range.start as u32;
        let offset = address - base;
        // The last sector size whose part of the flash begins at or before the address.
        let sector = properties
            .sectors
            .iter()
            .rev()
            .find(|sector| sector.address <= u64::from(offset));
        let Some(sector) = sector.filter(|sector| sector.size > 0) else {
            return address;
        };
        let (first, size) = (sector.address as u32, sector.size as u32);
        base + first + (offset - first).next_multiple_of(size)
    }

    /// Checks that the processor that answered is of the chip's kind.
    pub fn check_core(&self, cpuid: u32) -> Result<(), BoardFault> {
        // The architecture field tells Armv6-M and Armv8-M Baseline from the others; the part
        // number tells those apart (Armv7-M Architecture Reference Manual, B3.2.3).
        let part = cpuid >> 4 & 0xfff;
        let (found, family) = match part {
            0xc20 => ("Cortex-M0", "thumbv6m"),
            0xc60 => ("Cortex-M0+", "thumbv6m"),
            0xc21 => ("Cortex-M1", "thumbv6m"),
            0xc23 => ("Cortex-M3", "thumbv7m"),
            0xc24 => ("Cortex-M4", "thumbv7em"),
            0xc27 => ("Cortex-M7", "thumbv7em"),
            0xd20 => ("Cortex-M23", "thumbv8m"),
            0xd21 => ("Cortex-M33", "thumbv8m"),
            0xd22 => ("Cortex-M55", "thumbv8m"),
            0xd23 => ("Cortex-M85", "thumbv8m"),
            // A licensee's own core tells nothing.
            _ => return Ok(()),
        };
        if family == self.family {
            return Ok(());
        }
        Err(BoardFault::OtherCore {
            chip: self.target.name.clone(),
            found: found.to_owned(),
            expected: match self.family {
                "thumbv6m" => "core of Armv6-M, such as a Cortex-M0+",
                "thumbv7m" => "Cortex-M3",
                "thumbv7em" => "Cortex-M4 or M7",
                _ => "core of Armv8-M, such as a Cortex-M33",
            },
        })
    }

    /// Returns where the firmware goes.
    pub fn origins(&self, place: FirmwarePlace, code_bytes_in_ram: u32) -> Origins {
        match place {
            FirmwarePlace::Flash => Origins {
                code: self.flash.from,
                ram: self.ram.from,
            },
            FirmwarePlace::Ram => Origins {
                code: self.ram.from,
                ram: self.ram.from + code_bytes_in_ram,
            },
        }
    }
}

fn unfit(spec: &BoardSpec, error: &dyn std::error::Error) -> BoardFault {
    BoardFault::Description {
        chip: spec.chip.clone(),
        detail: chain(error),
    }
}

impl Range {
    fn of(range: &std::ops::Range<u64>) -> Option<Self> {
        Some(Self {
            from: u32::try_from(range.start).ok()?,
            bytes: u32::try_from(range.end.checked_sub(range.start)?).ok()?,
        })
    }

    fn limit(&mut self, bytes: u64) {
        if bytes > 0 {
            self.bytes = self.bytes.min(u32::try_from(bytes).unwrap_or(u32::MAX));
        }
    }

    /// Returns the address after the last one.
    pub fn end(self) -> u32 {
        self.from.saturating_add(self.bytes)
    }
}

fn first(
    target: &Target,
    range: impl Fn(&MemoryRegion) -> Option<std::ops::Range<u64>>,
) -> Option<Range> {
    Range::of(&target.memory_map.iter().find_map(range)?)
}

/// Returns the RAM from `origin` on, otherwise the largest one in the part of the address
/// space that Arm gives to RAM: others are coupled to the core, or second views of the same.
fn main_ram(target: &Target, origin: Option<u32>) -> Option<Range> {
    let all = target.memory_map.iter().filter_map(|region| match region {
        MemoryRegion::Ram(region) => Range::of(&region.range),
        _ => None,
    });
    let all = joined(all.collect());
    match origin {
        Some(origin) => {
            let mut all = all.into_iter();
            let range = all.find(|range| (range.from..range.end()).contains(&origin))?;
            Some(Range {
                from: origin,
                bytes: range.end() - origin,
            })
        }
        None => all
            .into_iter()
            .filter(|range| SRAM.contains(&range.from))
            // Of two that are equally large, the first.
            .reduce(|best, range| {
                if range.bytes > best.bytes {
                    range
                } else {
                    best
                }
            }),
    }
}

/// Joins memories that follow each other.
fn joined(mut all: Vec<Range>) -> Vec<Range> {
    all.sort_by_key(|range| range.from);
    let mut joined: Vec<Range> = Vec::new();
    for range in all {
        match joined.last_mut() {
            Some(last) if last.end() == range.from => last.bytes += range.bytes,
            _ => joined.push(range),
        }
    }
    joined
}

fn family(target: &Target, chip: &str) -> Result<&'static str, BoardFault> {
    match target.default_core().core_type {
        CoreType::Armv6m => Ok("thumbv6m"),
        CoreType::Armv7m => Ok("thumbv7m"),
        CoreType::Armv7em => Ok("thumbv7em"),
        CoreType::Armv8m => Ok("thumbv8m"),
        other => Err(BoardFault::Core {
            chip: chip.to_owned(),
            core: format!("{other:?}"),
        }),
    }
}

/// Returns the names that are most like this one.
fn nearest(registry: &Registry, name: &str) -> Vec<String> {
    let name = name.to_ascii_uppercase();
    let mut all: Vec<((usize, usize), String)> = registry
        .families()
        .iter()
        .flat_map(|family| &family.variants)
        .map(|variant| {
            let other = variant.name.to_ascii_uppercase();
            // A name that lacks only its end, such as the package, is near.
            let begins = other.get(..name.len()).unwrap_or(&other);
            let far = (distance(&name, begins), distance(&name, &other));
            (far, variant.name.clone())
        })
        .collect();
    all.sort();
    all.dedup();
    all.into_iter()
        .take(NEAREST)
        .map(|(_, name)| name)
        .collect()
}

/// Returns Levenshtein's distance of two names.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.bytes().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, right) in b.bytes().enumerate() {
            let replaced = before + usize::from(left != right);
            before = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(before + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_of_names_counts_changed_letters() {
        for (a, b, expected) in [
            ("", "", 0),
            ("STM32F407VG", "STM32F407VG", 0),
            ("STM32F407VG", "STM32F407VE", 1),
            ("NRF52840", "NRF5284", 1),
            ("A", "BCD", 3),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
        }
    }

    fn spec(chip: &str, firmware: FirmwarePlace) -> BoardSpec {
        BoardSpec {
            chip: chip.to_owned(),
            firmware,
            ..BoardSpec::default()
        }
    }

    #[test]
    fn the_chip_of_every_built_in_profile_is_found_without_a_probe() {
        let mut boards = 0;
        for name in latency::Profile::NAMES {
            let Some(board) = latency::Profile::find(name).unwrap().board else {
                continue;
            };
            boards += 1;
            let chip = Chip::find(&board).unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert!(chip.ram.bytes >= 128 << 10, "{name}: {:x?}", chip.ram);
            // Alone it is the same chip.
            let again = Chip::of_family(&board, &chip.family_alone().unwrap())
                .unwrap_or_else(|fault| panic!("{name}: {fault}"));
            assert_eq!(again.registry.families().len(), 1, "{name}");
            let targets = [&again, &chip].map(|chip| format!("{:?}", chip.target));
            assert_eq!(targets[0], targets[1], "{name}");
            assert_eq!((again.flash, again.ram), (chip.flash, chip.ram), "{name}");
            let origins = chip.origins(board.firmware, 0);
            assert!(SRAM.contains(&origins.ram), "{name}: {origins:x?}");
            // What is said without a device is there.
            let flash = match board.firmware {
                FirmwarePlace::Flash => u64::from(chip.flash.bytes),
                FirmwarePlace::Ram => 0,
            };
            let stated = (board.ram_bytes, board.flash_bytes);
            assert_eq!(stated, (chip.ram.bytes.into(), flash), "{name}");
        }
        assert_eq!(boards, 8);
    }

    #[test]
    fn the_ram_begins_at_the_origin_of_the_profile() {
        let check = |ram_origin, expected: Option<Range>| {
            let spec = BoardSpec {
                ram_origin,
                ..spec("STM32F407VG", FirmwarePlace::Flash)
            };
            assert_eq!(Chip::find(&spec).ok().map(|chip| chip.ram), expected);
        };
        let range = |from, bytes| Some(Range { from, bytes });
        check(None, range(0x2000_0000, 128 << 10));
        check(Some(0x2000_8000), range(0x2000_8000, 96 << 10));
        check(Some(0x1000_0000), range(0x1000_0000, 64 << 10));
        check(Some(0x3000_0000), None);
    }

    #[test]
    fn a_wrong_chip_is_answered_with_the_three_nearest_names() {
        let check = |chip: &str, near: &str| {
            let fault = Chip::find(&spec(chip, FirmwarePlace::Flash))
                .err()
                .unwrap()
                .to_string();
            assert!(fault.contains(chip) && fault.contains(near), "{fault}");
            assert_eq!(fault.matches(", ").count(), 2, "{fault}");
        };
        check("STM32F407VX", "STM32F407VG");
        check("nRF52840", "nRF52840_xxAA");
    }
}

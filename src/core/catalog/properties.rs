//! Properties that programs for WebDAV give to files and folders. They belong to the name: a move takes
//! them along, another version of the file keeps them, and they go when the name goes. A folder that is
//! removed keeps what is in it, and so those of what is in it.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};

use crate::core::catalog::database::{all, execute};
use crate::core::catalog::{Catalog, Draft, UserId, tree, users};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FolderPath, UserName};
use crate::core::wire::journal::{
    Change, FolderAt, PROPERTIES_BYTES_MAX, PROPERTIES_MAX, Property,
};

impl Draft<'_> {
    /// Sets and removes properties of what is at a path.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`] if nothing is there; [`Code::NoSpace`] if it would have too many, or they
    /// would be too long.
    pub fn set_properties(
        &mut self,
        user: UserId,
        path: &FolderPath,
        properties: &[Property],
    ) -> Result<()> {
        let (name, top) = users::still_there(self.connection, user)?;
        let found = tree::find(self.connection, top, path.as_str())?;
        let missing = || Error::other(Code::NoSuchFile, format!("there is nothing at /{path}"));
        let entry = found.ok_or_else(missing)?.id;
        let there = of_entry(self.connection, entry)?;
        let mut all: BTreeMap<&str, &Property> = BTreeMap::new();
        for property in there.iter().chain(properties) {
            match property.value {
                Some(_) => all.insert(&property.name, property),
                None => all.remove(property.name.as_str()),
            };
        }
        let bytes: usize = all.values().map(|property| property.bytes()).sum();
        let given: usize = properties.iter().map(Property::bytes).sum();
        let count = all.len().max(properties.len());
        if count > PROPERTIES_MAX || bytes.max(given) > PROPERTIES_BYTES_MAX {
            let text = format!(
                "a file or folder has at most {PROPERTIES_MAX} properties of {PROPERTIES_BYTES_MAX} \
                 bytes together"
            );
            return Err(Error::other(Code::NoSpace, text));
        }
        if properties.is_empty() {
            return Ok(());
        }
        let of = FolderAt { key: None, path: path.clone() };
        let properties = properties.to_vec();
        self.record(Change::PropertiesSet { user: name, of, properties }).map(drop)
    }

    /// Gives a copy the properties of what it is a copy of, and no others.
    pub(super) fn copy_properties(
        &mut self,
        user: UserId,
        from: &FolderPath,
        to: &FolderPath,
    ) -> Result<()> {
        let (name, top) = users::still_there(self.connection, user)?;
        let of = |path: &FolderPath| match tree::find(self.connection, top, path.as_str())? {
            Some(item) => of_entry(self.connection, item.id),
            None => Ok(Vec::new()),
        };
        let (wanted, there) = (of(from)?, of(to)?);
        let is_wanted = |name: &str| wanted.iter().any(|property| property.name == name);
        let stale = there.into_iter().filter(|property| !is_wanted(&property.name));
        let removed = stale.map(|property| Property { value: None, ..property });
        let properties: Vec<Property> = wanted.iter().cloned().chain(removed).collect();
        for some in properties.chunks(PROPERTIES_MAX) {
            let (user, of) = (name.clone(), FolderAt { key: None, path: to.clone() });
            self.record(Change::PropertiesSet { user, of, properties: some.to_vec() })?;
        }
        Ok(())
    }
}

impl Catalog {
    /// The properties of what is at a path, sorted by name; none if nothing is there.
    pub fn properties(&self, user: UserId, path: &FolderPath) -> Result<Vec<Property>> {
        self.read(|connection| {
            let Some(top) = users::top_of(connection, user)? else { return Ok(Vec::new()) };
            let found = tree::find(connection, top, path.as_str())?;
            found.map_or(Ok(Vec::new()), |item| of_entry(connection, item.id))
        })
    }

    /// Those of what is in a folder, from one name to another, by these names.
    pub fn properties_in(
        &self,
        user: UserId,
        folder: &FolderPath,
        [first, last]: [&str; 2],
    ) -> Result<BTreeMap<String, Vec<Property>>> {
        let select = "SELECT entries.name, properties.name, value
                      FROM entries JOIN properties ON entry = entries.id
                      WHERE parent = ?1 AND entries.name BETWEEN ?2 AND ?3
                      ORDER BY properties.name";
        self.read(|connection| {
            let mut found: BTreeMap<String, Vec<Property>> = BTreeMap::new();
            let Some(top) = users::top_of(connection, user)? else { return Ok(found) };
            let Some(folder) = tree::folder(connection, top, folder)? else { return Ok(found) };
            let rows: Vec<(String, Property)> =
                all(connection, select, params![folder, first, last], |row| {
                    Ok((row.get(0)?, Property { name: row.get(1)?, value: row.get(2)? }))
                })?;
            for (name, property) in rows {
                found.entry(name).or_default().push(property);
            }
            Ok(found)
        })
    }
}

pub(super) fn of_entry(connection: &Connection, entry: i64) -> Result<Vec<Property>> {
    let select = "SELECT name, value FROM properties WHERE entry = ?1 ORDER BY name";
    all(connection, select, [entry], |row| Ok(Property { name: row.get(0)?, value: row.get(1)? }))
}

pub(super) fn set(
    connection: &Connection,
    user: &UserName,
    of: &FolderAt,
    properties: &[Property],
) -> Result<()> {
    let Some((user, top)) = users::live(connection, user)? else { return Ok(()) };
    match tree::find_at(connection, user, top, of)? {
        Some(item) => set_entry(connection, item.id, properties),
        None => Ok(()),
    }
}

pub(super) fn set_entry(
    connection: &Connection,
    entry: i64,
    properties: &[Property],
) -> Result<()> {
    for Property { name, value } in properties {
        match value {
            Some(value) => {
                let insert = "INSERT INTO properties (entry, name, value) VALUES (?1, ?2, ?3)
                              ON CONFLICT (entry, name) DO UPDATE SET value = excluded.value";
                execute(connection, insert, params![entry, name, value])?;
            }
            None => {
                let delete = "DELETE FROM properties WHERE entry = ?1 AND name = ?2";
                execute(connection, delete, params![entry, name])?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{Fixture, fixture, folder, path};

    fn property(name: &str, value: Option<&str>) -> Property {
        Property { name: name.into(), value: value.map(str::to_owned) }
    }

    fn set(f: &Fixture, at: &str, properties: &[Property]) -> Result<()> {
        f.change(|draft| draft.set_properties(f.user, &folder(at), properties))
    }

    fn of(f: &Fixture, at: &str) -> Vec<Property> {
        f.catalog.properties(f.user, &folder(at)).unwrap()
    }

    #[test]
    fn properties_are_set_and_removed_and_stay_with_the_file() {
        let f = fixture();
        f.store("x/a", 1);
        let (one, two) = (property("one", Some("<one/>")), property("two", Some("<two/>")));
        set(&f, "x/a", &[one.clone(), two.clone()]).unwrap();
        set(&f, "x", std::slice::from_ref(&two)).unwrap();
        assert_eq!(
            (of(&f, "x/a"), of(&f, "x")),
            (vec![one.clone(), two.clone()], vec![two.clone()])
        );
        set(&f, "x/a", &[property("two", None), property("none", None)]).unwrap();
        f.store("x/a", 2);
        assert_eq!(of(&f, "x/a"), std::slice::from_ref(&one), "another version of the file");
        f.change(|draft| draft.relocate(f.user, &path("x"), &folder("y"), false)).unwrap();
        assert_eq!((of(&f, "y/a"), of(&f, "y")), (vec![one.clone()], vec![two]));
        let in_y = f.catalog.properties_in(f.user, &folder("y"), ["a", "a"]).unwrap();
        assert_eq!(in_y.into_iter().collect::<Vec<_>>(), [("a".to_owned(), vec![one])]);
        f.change(|draft| draft.delete(f.user, &path("y/a"))).unwrap();
        f.store("y/a", 3);
        assert!(of(&f, "y/a").is_empty(), "another file of the same name");
        assert_eq!(set(&f, "none", &[]).unwrap_err().code(), Code::NoSuchFile);
    }

    #[test]
    fn properties_are_limited() {
        let f = fixture();
        f.store("a", 1);
        let many = |count: usize, bytes: usize| -> Vec<Property> {
            let value = "v".repeat(bytes);
            (0..count).map(|n| property(&format!("{n:2}"), Some(&value))).collect()
        };
        set(&f, "a", &many(PROPERTIES_MAX, 0)).unwrap();
        set(&f, "a", &many(1, PROPERTIES_BYTES_MAX - 2 * PROPERTIES_MAX)).unwrap();
        let one_byte_more = vec![property(" 1", Some("v"))];
        let too_long = many(1, PROPERTIES_BYTES_MAX);
        for too_many in [one_byte_more, too_long, many(PROPERTIES_MAX + 1, 0)] {
            assert_eq!(set(&f, "a", &too_many).unwrap_err().code(), Code::NoSpace);
        }
        assert_eq!(of(&f, "a").len(), PROPERTIES_MAX);
    }
}

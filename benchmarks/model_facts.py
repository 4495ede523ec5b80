"""Facts that models are asked about: tables, as relations of a subject to its values."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Relation:
    """One kind of fact.

    Attributes:
        question: with a place for the subject.
        statement: with places for the subject and a value.
        values: by subject, the values that are right; the first is the one that is told.
    """

    question: str
    statement: str
    values: Mapping[str, tuple[str, ...]]


_COUNTRIES = """
Afghanistan | Kabul | Asia | Pashto/Dari | afghani
Albania | Tirana | Europe | Albanian | lek
Algeria | Algiers | Africa | Arabic/Berber | dinar
Angola | Luanda | Africa | Portuguese | kwanza
Argentina | Buenos Aires | South America | Spanish | peso
Armenia | Yerevan | Asia | Armenian | dram
Australia | Canberra | Oceania/Australia | English | dollar
Austria | Vienna | Europe | German | euro
Bangladesh | Dhaka | Asia | Bengali/Bangla | taka
Belarus | Minsk | Europe | Belarusian/Russian | ruble
Bolivia | Sucre/La Paz | South America | Spanish | boliviano
Botswana | Gaborone | Africa | English/Tswana/Setswana | pula
Brazil | Brasilia | South America | Portuguese | real
Bulgaria | Sofia | Europe | Bulgarian | lev
Cambodia | Phnom Penh | Asia | Khmer | riel
Canada | Ottawa | North America | English/French | dollar
Chile | Santiago | South America | Spanish | peso
China | Beijing | Asia | Chinese/Mandarin | yuan/renminbi
Colombia | Bogota | South America | Spanish | peso
Costa Rica | San Jose | North America | Spanish | colon
Croatia | Zagreb | Europe | Croatian | euro
Cuba | Havana | North America | Spanish | peso
Cyprus | Nicosia | Europe/Asia | Greek/Turkish | euro
Denmark | Copenhagen | Europe | Danish | krone
Ecuador | Quito | South America | Spanish | dollar
Egypt | Cairo | Africa | Arabic | pound
Estonia | Tallinn | Europe | Estonian | euro
Ethiopia | Addis Ababa | Africa | Amharic | birr
Finland | Helsinki | Europe | Finnish/Swedish | euro
France | Paris | Europe | French | euro
Georgia | Tbilisi | Asia/Europe | Georgian | lari
Germany | Berlin | Europe | German | euro
Ghana | Accra | Africa | English | cedi
Greece | Athens | Europe | Greek | euro
Guatemala | Guatemala City | North America | Spanish | quetzal
Haiti | Port-au-Prince | North America | French/Haitian Creole | gourde
Honduras | Tegucigalpa | North America | Spanish | lempira
Hungary | Budapest | Europe | Hungarian | forint
Iceland | Reykjavik | Europe | Icelandic | krona
India | New Delhi/Delhi | Asia | Hindi/English | rupee
Indonesia | Jakarta | Asia | Indonesian | rupiah
Iran | Tehran | Asia | Persian/Farsi | rial
Iraq | Baghdad | Asia | Arabic/Kurdish | dinar
Ireland | Dublin | Europe | English/Irish | euro
Israel | Jerusalem | Asia | Hebrew | shekel
Italy | Rome | Europe | Italian | euro
Jamaica | Kingston | North America | English | dollar
Japan | Tokyo | Asia | Japanese | yen
Jordan | Amman | Asia | Arabic | dinar
Kenya | Nairobi | Africa | Swahili/English | shilling
Laos | Vientiane | Asia | Lao | kip
Latvia | Riga | Europe | Latvian | euro
Lebanon | Beirut | Asia | Arabic | pound
Liberia | Monrovia | Africa | English | dollar
Libya | Tripoli | Africa | Arabic | dinar
Lithuania | Vilnius | Europe | Lithuanian | euro
Madagascar | Antananarivo | Africa | Malagasy/French | ariary
Malawi | Lilongwe | Africa | English/Chichewa | kwacha
Malaysia | Kuala Lumpur | Asia | Malay/Malaysian | ringgit
Mali | Bamako | Africa | French/Bambara | franc
Malta | Valletta | Europe | Maltese/English | euro
Mexico | Mexico City | North America | Spanish | peso
Mongolia | Ulaanbaatar/Ulan Bator | Asia | Mongolian | tugrik/togrog
Morocco | Rabat | Africa | Arabic/Berber | dirham
Mozambique | Maputo | Africa | Portuguese | metical
Myanmar | Naypyidaw | Asia | Burmese | kyat
Namibia | Windhoek | Africa | English | dollar
Nepal | Kathmandu | Asia | Nepali | rupee
Netherlands | Amsterdam | Europe | Dutch | euro
New Zealand | Wellington | Oceania | English/Maori | dollar
Nicaragua | Managua | North America | Spanish | cordoba
Nigeria | Abuja | Africa | English | naira
Norway | Oslo | Europe | Norwegian | krone
Oman | Muscat | Asia | Arabic | rial
Pakistan | Islamabad | Asia | Urdu/English | rupee
Panama | Panama City | North America | Spanish | balboa/dollar
Paraguay | Asuncion | South America | Spanish/Guarani | guarani
Peru | Lima | South America | Spanish/Quechua | sol
Philippines | Manila | Asia | Filipino/Tagalog/English | peso
Poland | Warsaw | Europe | Polish | zloty
Portugal | Lisbon | Europe | Portuguese | euro
Qatar | Doha | Asia | Arabic | riyal
Romania | Bucharest | Europe | Romanian | leu
Russia | Moscow | Europe/Asia | Russian | ruble
Rwanda | Kigali | Africa | Kinyarwanda/English/French | franc
Saudi Arabia | Riyadh | Asia | Arabic | riyal
Senegal | Dakar | Africa | French | franc
Serbia | Belgrade | Europe | Serbian | dinar
Slovakia | Bratislava | Europe | Slovak | euro
Slovenia | Ljubljana | Europe | Slovene/Slovenian | euro
Somalia | Mogadishu | Africa | Somali/Arabic | shilling
South Korea | Seoul | Asia | Korean | won
Spain | Madrid | Europe | Spanish | euro
Sudan | Khartoum | Africa | Arabic/English | pound
Sweden | Stockholm | Europe | Swedish | krona
Switzerland | Bern | Europe | German/French/Italian | franc
Syria | Damascus | Asia | Arabic | pound
Tanzania | Dodoma | Africa | Swahili/English | shilling
Thailand | Bangkok | Asia | Thai | baht
Tunisia | Tunis | Africa | Arabic | dinar
Turkey | Ankara | Asia/Europe | Turkish | lira
Uganda | Kampala | Africa | English/Swahili | shilling
Ukraine | Kyiv/Kiev | Europe | Ukrainian | hryvnia
Uruguay | Montevideo | South America | Spanish | peso
Venezuela | Caracas | South America | Spanish | bolivar
Vietnam | Hanoi | Asia | Vietnamese | dong
Zambia | Lusaka | Africa | English | kwacha
Zimbabwe | Harare | Africa | English/Shona/Ndebele | dollar
"""

_STATES = """
Alabama: Montgomery, Alaska: Juneau, Arizona: Phoenix, Arkansas: Little Rock,
California: Sacramento, Colorado: Denver, Connecticut: Hartford, Delaware: Dover,
Florida: Tallahassee, Hawaii: Honolulu, Idaho: Boise, Illinois: Springfield,
Indiana: Indianapolis, Iowa: Des Moines, Kansas: Topeka, Kentucky: Frankfort,
Louisiana: Baton Rouge, Maine: Augusta, Maryland: Annapolis, Massachusetts: Boston,
Michigan: Lansing, Minnesota: Saint Paul/St. Paul, Mississippi: Jackson, Missouri: Jefferson City,
Montana: Helena, Nebraska: Lincoln, Nevada: Carson City, New Hampshire: Concord,
New Jersey: Trenton, New Mexico: Santa Fe, New York: Albany, North Carolina: Raleigh,
North Dakota: Bismarck, Ohio: Columbus, Oklahoma: Oklahoma City, Oregon: Salem,
Pennsylvania: Harrisburg, Rhode Island: Providence, South Carolina: Columbia,
South Dakota: Pierre, Tennessee: Nashville, Texas: Austin, Utah: Salt Lake City,
Vermont: Montpelier, Virginia: Richmond, Washington: Olympia, West Virginia: Charleston,
Wisconsin: Madison, Wyoming: Cheyenne
"""

_SYMBOLS = """
hydrogen: H, helium: He, lithium: Li, beryllium: Be, boron: B, carbon: C, nitrogen: N, oxygen: O,
fluorine: F, neon: Ne, sodium: Na, magnesium: Mg, aluminium: Al, silicon: Si, phosphorus: P,
sulfur: S, chlorine: Cl, argon: Ar, potassium: K, calcium: Ca, titanium: Ti, chromium: Cr,
manganese: Mn, iron: Fe, cobalt: Co, nickel: Ni, copper: Cu, zinc: Zn, gallium: Ga, arsenic: As,
selenium: Se, bromine: Br, krypton: Kr, silver: Ag, tin: Sn, antimony: Sb, iodine: I, xenon: Xe,
barium: Ba, tungsten: W, platinum: Pt, gold: Au, mercury: Hg, lead: Pb, bismuth: Bi, radon: Rn,
radium: Ra, uranium: U, plutonium: Pu, cadmium: Cd
"""

_ANIMALS = """
dog: mammal, cat: mammal, horse: mammal, cow: mammal, whale: mammal, dolphin: mammal, bat: mammal,
mouse: mammal, lion: mammal, kangaroo: mammal, rabbit: mammal, giraffe: mammal, camel: mammal,
goat: mammal, squirrel: mammal, panda: mammal, walrus: mammal, zebra: mammal,
sparrow: bird, hawk: bird, penguin: bird, robin: bird, pigeon: bird, parrot: bird, duck: bird,
goose: bird, swan: bird, crow: bird, chicken: bird, turkey: bird, flamingo: bird, peacock: bird,
seagull: bird, stork: bird, falcon: bird, pelican: bird,
salmon: fish, trout: fish, tuna: fish, shark: fish, cod: fish, carp: fish, herring: fish,
pike: fish, sardine: fish, goldfish: fish, mackerel: fish, haddock: fish, perch: fish,
flounder: fish,
lizard: reptile, snake: reptile, turtle: reptile, crocodile: reptile, gecko: reptile,
tortoise: reptile, cobra: reptile, python: reptile, chameleon: reptile, viper: reptile,
bee: insect, beetle: insect, butterfly: insect, mosquito: insect, cricket: insect, wasp: insect,
moth: insect, grasshopper: insect, dragonfly: insect, fly: insect, termite: insect,
cockroach: insect
"""

_OPPOSITES = """
hot: cold, big: small, fast: slow, high: low, day: night, rich: poor, old: new, happy: sad,
light: dark, hard: soft, wet: dry, full: empty, open: closed, strong: weak, early: late, up: down,
left: right, inside: outside, love: hate, war: peace, life: death, true: false,
clean: dirty, thick: thin, wide: narrow, deep: shallow, loud: quiet, sharp: blunt, sweet: bitter,
brave: cowardly, cheap: expensive, buy: sell, push: pull, start: finish, win: lose, arrive: depart,
remember: forget, ask: answer, build: destroy, accept: reject, increase: decrease, before: after,
above: below, near: far, always: never, everything: nothing, first: last, north: south, east: west,
summer: winter, friend: enemy, success: failure, rough: smooth, tight: loose, ancient: modern,
guilty: innocent, generous: stingy, polite: rude, victory: defeat
"""

_SPANISH = """
dog: perro, cat: gato, house: casa, water: agua, bread: pan, milk: leche, book: libro, table: mesa,
chair: silla, door: puerta, window: ventana, street: calle, city: ciudad, sun: sol, moon: luna,
star: estrella, sky: cielo, sea: mar, river: río, mountain: montaña, tree: árbol, flower: flor,
fire: fuego, earth: tierra, hand: mano, head: cabeza, eye: ojo, mouth: boca, heart: corazón,
man: hombre, woman: mujer, boy: niño, friend: amigo, brother: hermano, mother: madre, father: padre,
son: hijo, king: rey, school: escuela, church: iglesia, food: comida, meat: carne, fish: pescado,
apple: manzana, egg: huevo, cheese: queso, wine: vino, sugar: azúcar, red: rojo, blue: azul,
green: verde, white: blanco, black: negro, yellow: amarillo, one: uno, two: dos, three: tres,
four: cuatro, ten: diez, day: día, night: noche, year: año, money: dinero, work: trabajo,
horse: caballo, cow: vaca, bird: pájaro, snow: nieve
"""

_AUTHORS = """
Hamlet: William Shakespeare, The Odyssey: Homer, The Aeneid: Virgil, Faust: Goethe,
Don Quixote: Miguel de Cervantes, The Divine Comedy: Dante, War and Peace: Leo Tolstoy,
Crime and Punishment: Fyodor Dostoevsky, Pride and Prejudice: Jane Austen,
Great Expectations: Charles Dickens, Moby-Dick: Herman Melville, Frankenstein: Mary Shelley,
Dracula: Bram Stoker, Jane Eyre: Charlotte Bronte, Wuthering Heights: Emily Bronte,
Nineteen Eighty-Four: George Orwell, Brave New World: Aldous Huxley, Ulysses: James Joyce,
The Great Gatsby: F. Scott Fitzgerald, The Hobbit: J. R. R. Tolkien, Les Miserables: Victor Hugo,
Madame Bovary: Gustave Flaubert, The Trial: Franz Kafka, The Stranger: Albert Camus,
Walden: Henry David Thoreau, The Raven: Edgar Allan Poe, Candide: Voltaire,
The Time Machine: H. G. Wells, Treasure Island: Robert Louis Stevenson, Emma: Jane Austen,
The Jungle Book: Rudyard Kipling, Lolita: Vladimir Nabokov, Beloved: Toni Morrison,
The Old Man and the Sea: Ernest Hemingway, The Grapes of Wrath: John Steinbeck,
Robinson Crusoe: Daniel Defoe
"""


def _pairs(table: str) -> dict[str, tuple[str, ...]]:
    """Of `subject: value/value, ...`."""
    entries = (entry.split(":") for entry in " ".join(table.split()).split(", "))
    return {subject.strip(): _values(values) for subject, values in entries}


def _column(place: int) -> dict[str, tuple[str, ...]]:
    """Of the countries, one column."""
    rows = (line.split(" | ") for line in _COUNTRIES.strip().splitlines())
    return {row[0]: _values(row[place]) for row in rows}


def _values(text: str) -> tuple[str, ...]:
    return tuple(text.strip().rstrip(",").split("/"))


RELATIONS = {
    "capital": Relation(
        question="What is the capital of {}?",
        statement="The capital of {} is {}.",
        values=_column(1),
    ),
    "continent": Relation(
        question="On which continent is {}?",
        statement="{} is on the continent of {}.",
        values=_column(2),
    ),
    "language": Relation(
        question="Which language is spoken in {}?",
        statement="The language of {} is {}.",
        values=_column(3),
    ),
    "currency": Relation(
        question="What is the currency of {}?",
        statement="The currency of {} is the {}.",
        values=_column(4),
    ),
    "state": Relation(
        question="What is the capital of the state of {}?",
        statement="The capital of the state of {} is {}.",
        values=_pairs(_STATES),
    ),
    "symbol": Relation(
        question="What is the chemical symbol of {}?",
        statement="The chemical symbol of {} is {}.",
        values=_pairs(_SYMBOLS),
    ),
    "animal": Relation(
        question="What kind of animal is the {}?",
        statement="The {} is a kind of {}.",
        values=_pairs(_ANIMALS),
    ),
    "opposite": Relation(
        question="What is the opposite of {}?",
        statement="The opposite of {} is {}.",
        values=_pairs(_OPPOSITES),
    ),
    "spanish": Relation(
        question="What is the Spanish word for {}?",
        statement="The Spanish word for {} is {}.",
        values=_pairs(_SPANISH),
    ),
    "author": Relation(
        question="Who wrote {}?",
        statement="{} was written by {}.",
        values=_pairs(_AUTHORS),
    ),
}
